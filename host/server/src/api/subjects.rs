//! Whom a tenant's calls are about.

use crate::ask::{Ask, Done, Reply};
use crate::routes::{Routes, Spec};

pub(super) fn add(routes: &mut Routes) {
    routes.add(
        Spec::get("/v1/subjects/{subject}", "subjects.show", "What is known of a data subject. For owners and admins.")
            .gives("SubjectView", "What is known; not who it is."),
        show,
    );
    routes.add(Spec::post("/v1/subjects/{subject}/erase", "subjects.erase", "Destroy a data subject's key: nothing about them can be read any more, in no copy. Repeating it changes nothing. For owners and admins.").gives("SubjectView", "What is left."), erase);
}

async fn show(ask: Ask) -> Done {
    Reply::json(&ask.host.subjects().show(&ask.actor, ask.path("subject")).await?)
}

async fn erase(ask: Ask) -> Done {
    Reply::json(&ask.host.subjects().erase(&ask.actor, ask.path("subject")).await?)
}
