//! `http`: requests of a plugin, handed to the one way out under the rules of its authority. Everything that decides
//! (rule, address, headers, sizes, times) is the way out's; here types are turned into one another.

use std::sync::Arc;

use opsiq_egress::{BodyStream, EgressGrant, GuestRequest, GuestResponse, HttpFailure as Refused, Session};
use wasmtime::component::Resource;

use crate::bindings::opsiq::plugin::http::{Host, HostBody, HttpFailure, Request, Response};
use crate::fault::{Fault, FaultCode};
use crate::live::Phase;
use crate::state::{Given, State};

/// The body of an answer, as it stands in the table of one call. Dropping it before its end closes its connection.
#[allow(unreachable_pub, reason = "the generated bindings re-export it within this crate")]
pub struct Body(BodyStream);

impl State {
    /// The invocation's session: made at the first request, so that a call without one pays nothing.
    pub(crate) fn session(&mut self) -> &Arc<Session> {
        let Given { authorized, egress, keys, leaks, toll, kept, .. } = &self.given;
        self.session.get_or_insert_with(|| {
            let (grant, keys) = (EgressGrant::of(authorized), Arc::clone(keys));
            let session = Session::new(grant, Arc::clone(egress), keys, Arc::clone(leaks));
            let session = session.charged_to(Arc::new(toll.clone()));
            Arc::new(match kept {
                Some(kept) => session.keeping(Arc::clone(kept)),
                None => session,
            })
        })
    }

    fn failed(&mut self, failure: Refused) -> HttpFailure {
        match failure {
            Refused::Denied(denial) => HttpFailure::Denied(self.deny(denial)),
            Refused::Invalid(what) => HttpFailure::Invalid(what),
            Refused::Unreachable => HttpFailure::Unreachable,
            Refused::TimedOut { sent } => HttpFailure::TimedOut(sent),
            Refused::Limit { name, sent } => HttpFailure::Limit((name.to_owned(), sent)),
            Refused::Broken => HttpFailure::Broken,
        }
    }
}

/// Bytes the guest passed with a request.
fn passed(request: &Request) -> usize {
    let headers: usize = request.headers.iter().map(|(name, value)| name.len() + value.len()).sum();
    request.method.len() + request.url.len() + headers + request.body.as_ref().map_or(0, Vec::len)
}

impl Host for State {
    async fn send(&mut self, request: Request) -> wasmtime::Result<Result<Response, HttpFailure>> {
        self.enter_to_wait(passed(&request))?;
        let Request { method, url, headers, body, timeout_ms } = request;
        self.live.now(Phase::Http);
        let answer = self.session().send(GuestRequest { method, url, headers, body, timeout_ms }).await;
        self.goes_on();
        if self.egress.ended() {
            return Err(
                Fault::new(FaultCode::RehearsalEnded, "nothing stands in for the answer to this request").into()
            );
        }
        match answer {
            Ok(GuestResponse { status, headers, body }) => {
                let body = self.hold(Body(body))?;
                Ok(Ok(Response { status, headers, body }))
            }
            Err(failure) => Ok(Err(self.failed(failure))),
        }
    }
}

impl HostBody for State {
    async fn read(&mut self, body: Resource<Body>, max: u32) -> wasmtime::Result<Result<Vec<u8>, HttpFailure>> {
        self.enter_to_wait(0)?;
        self.live.now(Phase::Http);
        let piece = self.table.get_mut(&body)?.0.read(max).await;
        self.goes_on();
        match piece {
            Ok(piece) => Ok(Ok(piece)),
            Err(failure) => Ok(Err(self.failed(failure))),
        }
    }

    fn drop(&mut self, body: Resource<Body>) -> wasmtime::Result<()> {
        self.table.delete(body)?;
        Ok(())
    }
}
