//! One request of the host's own to a place that a tenant named, such as its provider of identities. It goes the way of a plugin's
//! request, with every check and bound of it, but that no contract has a rule for it: whoever calls names the URL and says why.
//!
//! No redirect is followed, nothing is kept open, and every failure to connect takes the same time, so that a tenant cannot use it to
//! look around in the host's network.

use std::sync::Arc;
use std::time::Duration;

use opsiq_contract::{HttpLimits, PrivateTarget};
use tokio::time::Instant;

use crate::body::MAX_PIECE;
use crate::egress::Egress;
use crate::failure::HttpFailure;
use crate::record::{HttpRecord, Verdict};
use crate::request::{GuestRequest, Outgoing};
use crate::session::{EgressGrant, Session};

/// An answer, whole.
#[derive(Debug)]
pub struct Called {
    /// The status.
    pub status: u16,
    /// The body, decoded, within the limits.
    pub body: Vec<u8>,
}

/// Why there is none.
#[derive(Debug, thiserror::Error)]
#[error("{failure}")]
pub struct CallFailure {
    /// What whoever asked may know.
    pub failure: HttpFailure,
    /// What happened, for the audit log alone.
    pub detail: String,
}

impl Egress {
    /// Sends a request and reads its answer to the end. `targets` are the private destinations the operator listed for it.
    ///
    /// # Errors
    /// As [`Session::send`] and [`BodyStream::read`](crate::BodyStream::read), but [`HttpFailure::Denied`] for want of a rule.
    pub async fn call(
        self: &Arc<Self>,
        request: GuestRequest,
        targets: &[PrivateTarget],
        limits: &HttpLimits,
    ) -> Result<Called, CallFailure> {
        let grant = EgressGrant {
            rules: Vec::new(),
            denied_rules: Vec::new(),
            private_targets: targets.to_vec(),
            limits: limits.clone(),
        };
        let session = Session::of_host(grant, Arc::clone(self));
        session.called(request).await.map_err(|failure| {
            let detail = session.records().pop().and_then(told).unwrap_or_else(|| failure.to_string());
            CallFailure { failure, detail }
        })
    }
}

impl Session {
    async fn called(&self, request: GuestRequest) -> Result<Called, HttpFailure> {
        let limits = &self.grant.limits;
        let deadline = Instant::now() + Duration::from_millis(limits.total_ms);
        let outgoing = Outgoing::parse(request, limits)?;
        let entry = self.begin(&outgoing);
        let answer = self.hop(&outgoing, None, deadline, &entry).await?;
        let mut answer = self.answer(answer, &outgoing, limits.response_bytes, deadline, &entry)?;
        let mut body = Vec::new();
        loop {
            let piece = answer.body.read(MAX_PIECE).await?;
            if piece.is_empty() {
                return Ok(Called { status: answer.status, body });
            }
            body.extend_from_slice(&piece);
        }
    }
}

fn told(record: HttpRecord) -> Option<String> {
    match record.verdict {
        Verdict::Failed { code, detail } => Some(format!("{code}: {detail}")),
        _ => None,
    }
}
