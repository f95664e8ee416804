//! Orders of a business's own shop: look up, list, refund.
//!
//! The shop sees who asks by the signature of each request, which the plugin makes with a key it never sees. A refund
//! carries the host's idempotency key, so that the same call refunds once however often it is sent, and leaves an
//! event in the audit log.

#![cfg_attr(test, allow(clippy::unwrap_used))]

use opsiq_sdk::http::{Request, Response};
use opsiq_sdk::prelude::*;

opsiq_sdk::plugin!();

impl Actions for Plugin {
    fn get_order(ctx: &Context, params: GetOrderParams) -> Result<Order> {
        let base = &ctx.config()?.base_url;
        send(ctx, ctx.http().get(url!("{base}/orders/{params.id}")))?.json()
    }

    fn list_orders(ctx: &Context, params: ListOrdersParams) -> Result<ListOrdersResult> {
        let base = &ctx.config()?.base_url;
        let request = ctx
            .http()
            .get(url!("{base}/orders"))
            .query_if("status", params.status)
            .query_if("limit", params.limit)
            .query_if("cursor", params.cursor);
        send(ctx, request)?.json()
    }

    fn refund_order(ctx: &Context, params: RefundOrderParams) -> Result<RefundOrderResult> {
        let RefundOrderParams { id, amount, currency, reason } = params;
        let base = &ctx.config()?.base_url;
        let mut request = ctx.http().post(url!("{base}/orders/{id}/refunds"));
        if let Some(key) = ctx.idempotency_key() {
            request = request.header("idempotency-key", key);
        }
        let request = request.json(&json!({ "amount": amount, "currency": currency, "reason": reason }));
        let refund: RefundOrderResult = send(ctx, request)?.json()?;
        record(ctx, &refund);
        if (&refund.order, refund.amount, &refund.currency) != (&id, amount, &currency) {
            return Err(Failure::upstream(
                Some(201),
                true,
                format!(
                    "the shop was asked to refund {amount} {currency} on order {id} and refunded {} {} on order {}",
                    refund.amount, refund.currency, refund.order
                ),
            ));
        }
        Ok(refund)
    }
}

/// Signs a request and sends it.
fn send(ctx: &Context, request: Request) -> Result<Response> {
    let key = ctx.key("signing-secret")?;
    request.standard_webhooks(&key).send()?.error_for_status()
}

/// Puts a refund that happened into the audit log. The money has moved: a refused event must not make the call look as
/// if it had not, since whoever then calls again refunds twice. The host records the refusal itself.
fn record(ctx: &Context, refund: &RefundOrderResult) {
    let RefundOrderResult { id, order, amount, currency, .. } = refund;
    let detail = json!({ "refund": id, "order": order, "amount": amount, "currency": currency });
    if let Err(failure) = ctx.audit("refund.created", &detail) {
        error!("refund {id} was made, but its audit event was refused: {failure:?}");
    }
}

#[cfg(test)]
mod tests;
