//! The table of routes. A route is registered together with what it takes and gives, and from the same entry come the
//! router, the bounds on its body, the check of what it is sent, its counters, and its place in the `OpenAPI` document: no
//! route can be missing from one of them.

use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::http::{Method, StatusCode};
use axum::routing::{MethodFilter, MethodRouter};
use futures::future::BoxFuture;
use opsiq_shield::Class;
use serde_json::Value;

use crate::ask::{Ask, Done, JSON, Reply};
use crate::front::Front;
use crate::knock::Knocked;
use crate::metrics::RouteCounts;
use crate::once;

/// Bytes of a JSON body, unless a route says otherwise.
pub(crate) const BODY: usize = 64 << 10;

/// What a route takes.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Takes {
    /// No body.
    Nothing,
    /// A body of this media type, this schema, and at most so many bytes.
    Body { media: &'static str, schema: &'static str, most: usize },
}

/// A parameter of the query.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Parameter {
    pub(crate) name: &'static str,
    pub(crate) doc: &'static str,
    /// Its JSON Schema.
    pub(crate) schema: &'static str,
}

impl Parameter {
    /// Its JSON Schema, read.
    pub(crate) fn schema(&self) -> Value {
        serde_json::from_str(self.schema).unwrap_or_default()
    }

    /// The values it may have, where its schema lists them; none otherwise.
    pub(crate) fn values(&self) -> Vec<String> {
        let schema = self.schema();
        let listed = schema.get("enum").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        listed.iter().filter_map(Value::as_str).map(str::to_owned).collect()
    }
}

/// An answer that is no problem.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Gives {
    pub(crate) status: u16,
    pub(crate) doc: &'static str,
    /// Empty for no content.
    pub(crate) media: &'static str,
    /// The name of its schema; empty for bytes or text.
    pub(crate) schema: &'static str,
}

/// What a route is.
#[derive(Debug, Clone)]
pub(crate) struct Spec {
    pub(crate) method: Method,
    pub(crate) path: &'static str,
    pub(crate) id: &'static str,
    pub(crate) tag: &'static str,
    pub(crate) doc: &'static str,
    pub(crate) takes: Takes,
    pub(crate) query: Vec<Parameter>,
    pub(crate) headers: Vec<Parameter>,
    pub(crate) gives: Vec<Gives>,
    /// Whether anybody may ask.
    pub(crate) open: bool,
    /// Whether it is done once for an idempotency key.
    pub(crate) once: bool,
    /// Members of its answer that are shown once, and never again.
    pub(crate) shown_once: &'static [&'static str],
    /// As what its requests are counted.
    pub(crate) class: Class,
}

/// A handler.
pub(crate) type Handler = Box<dyn Fn(Ask) -> BoxFuture<'static, Done> + Send + Sync>;

/// A handler of what nobody has to be somebody for.
pub(crate) type KnockHandler = Box<dyn Fn(Knocked) -> BoxFuture<'static, Done> + Send + Sync>;

/// Who answers.
pub(crate) enum Run {
    /// A handler, once it is known who asks.
    Asked(Handler),
    /// A handler, whoever asks.
    Knocked(KnockHandler),
    /// The front itself, to anybody, even while the host is sealed.
    Open(fn(&Front) -> Reply),
}

/// A route.
pub(crate) struct Route {
    pub(crate) spec: Spec,
    pub(crate) run: Run,
    pub(crate) counts: RouteCounts,
}

/// All of them.
#[derive(Default)]
pub(crate) struct Routes(Vec<Route>);

impl Spec {
    /// A route of this method and path, which gives JSON of this schema with 200.
    pub(crate) fn new(method: Method, path: &'static str, id: &'static str, doc: &'static str) -> Self {
        let tag = path.split('/').nth(2).unwrap_or_default();
        let (query, headers, gives) = (Vec::new(), Vec::new(), Vec::new());
        let (takes, shown_once) = (Takes::Nothing, &[][..]);
        let class = if method.is_safe() { Class::Reads } else { Class::Writes };
        Self { method, path, id, tag, doc, takes, query, headers, gives, open: false, once: false, shown_once, class }
    }

    /// Something that is done, and done once for an idempotency key.
    fn write(method: Method, path: &'static str, id: &'static str, doc: &'static str) -> Self {
        let doing = Self { once: true, ..Self::new(method, path, id, doc) };
        doing.reads(
            once::KEY,
            "1 to 255 visible ASCII characters, in quotes. For a day, the same request under it gets the same answer, with idempotency-replayed: true.",
        )
    }

    /// A route that reads.
    pub(crate) fn get(path: &'static str, id: &'static str, doc: &'static str) -> Self {
        Self::new(Method::GET, path, id, doc)
    }

    /// A route that does something.
    pub(crate) fn post(path: &'static str, id: &'static str, doc: &'static str) -> Self {
        Self::write(Method::POST, path, id, doc)
    }

    /// A route that replaces.
    pub(crate) fn put(path: &'static str, id: &'static str, doc: &'static str) -> Self {
        Self::write(Method::PUT, path, id, doc)
    }

    /// A route that removes.
    pub(crate) fn delete(path: &'static str, id: &'static str, doc: &'static str) -> Self {
        Self::write(Method::DELETE, path, id, doc)
    }

    /// Takes no idempotency key: it changes nothing, is single by itself, such as a code that is used up,
    /// or is the operator's, whose acts are told apart by what they name.
    pub(crate) fn unkeyed(mut self) -> Self {
        self.once = false;
        self.headers.retain(|header| header.name != once::KEY);
        self
    }

    /// Has a member in its answer that is shown once: an answer given again has null there, and names it in `withheld`.
    pub(crate) fn shows_once(mut self, members: &'static [&'static str]) -> Self {
        self.shown_once = members;
        self
    }

    /// Is counted as something else than its method says.
    pub(crate) fn counted(mut self, class: Class) -> Self {
        self.class = class;
        self
    }

    /// Takes JSON of this schema.
    pub(crate) fn json(mut self, schema: &'static str) -> Self {
        self.takes = Takes::Body { media: JSON, schema, most: BODY };
        self
    }

    /// Takes a body.
    pub(crate) fn body(mut self, media: &'static str, schema: &'static str, most: usize) -> Self {
        self.takes = Takes::Body { media, schema, most };
        self
    }

    /// Takes a parameter in the query.
    pub(crate) fn param(mut self, name: &'static str, schema: &'static str, doc: &'static str) -> Self {
        self.query.push(Parameter { name, doc, schema });
        self
    }

    /// Takes the parameters of a list.
    pub(crate) fn paged(self) -> Self {
        self.param(
            "limit",
            r#"{"type":"integer","minimum":1,"maximum":1000,"default":100}"#,
            "How many items, at most.",
        )
        .param("cursor", r#"{"type":"string"}"#, "Where to go on: `next` of the page before.")
    }

    /// Reads a header.
    pub(crate) fn reads(mut self, name: &'static str, doc: &'static str) -> Self {
        self.headers.push(Parameter { name, doc, schema: r#"{"type":"string"}"# });
        self
    }

    /// Is bound to a revision by `If-Match`, where it is given.
    pub(crate) fn revised(self) -> Self {
        self.reads("if-match", "The ETag of what is changed: when it has changed meanwhile, nothing happens (412).")
    }

    /// Gives JSON of this schema with 200.
    pub(crate) fn gives(self, schema: &'static str, doc: &'static str) -> Self {
        self.gives_as(200, JSON, schema, doc)
    }

    /// Gives 204.
    pub(crate) fn gives_nothing(self, doc: &'static str) -> Self {
        self.gives_as(204, "", "", doc)
    }

    /// Gives something else.
    pub(crate) fn gives_as(
        mut self,
        status: u16,
        media: &'static str,
        schema: &'static str,
        doc: &'static str,
    ) -> Self {
        self.gives.push(Gives { status, doc, media, schema });
        self
    }
}

impl Routes {
    /// Adds a route.
    pub(crate) fn add<F, Fut>(&mut self, spec: Spec, run: F)
    where
        F: Fn(Ask) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Done> + Send + 'static,
    {
        let counts = RouteCounts::default();
        let run = Run::Asked(Box::new(move |ask| Box::pin(run(ask))));
        self.0.push(Route { spec, run, counts });
    }

    /// Adds a route by which somebody becomes somebody.
    pub(crate) fn knocked<F, Fut>(&mut self, spec: Spec, run: F)
    where
        F: Fn(Knocked) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Done> + Send + 'static,
    {
        let mut spec = spec.unkeyed();
        (spec.open, spec.class) = (true, Class::SignIn);
        let run = Run::Knocked(Box::new(move |knocked| Box::pin(run(knocked))));
        self.0.push(Route { spec, run, counts: RouteCounts::default() });
    }

    /// Adds a route that anybody may ask.
    pub(crate) fn open(&mut self, mut spec: Spec, run: fn(&Front) -> Reply) {
        (spec.open, spec.class) = (true, Class::Health);
        self.0.push(Route { spec, run: Run::Open(run), counts: RouteCounts::default() });
    }

    /// What each is.
    pub(crate) fn specs(&self) -> impl Iterator<Item = &Spec> {
        self.0.iter().map(|route| &route.spec)
    }

    /// The router, and the routes it leads to.
    pub(crate) fn router(self, front: &Arc<Front>) -> (Router, Vec<Arc<Route>>) {
        let routes: Vec<Arc<Route>> = self.0.into_iter().map(Arc::new).collect();
        let mut paths: Vec<(&'static str, MethodRouter)> = Vec::new();
        for route in &routes {
            let known = paths.iter().position(|(path, _)| *path == route.spec.path);
            let at = known.unwrap_or(paths.len());
            if known.is_none() {
                paths.push((route.spec.path, MethodRouter::new()));
            }
            let methods = std::mem::take(&mut paths[at].1);
            let (route, front) = (route.clone(), front.clone());
            let filter = MethodFilter::try_from(route.spec.method.clone()).unwrap_or(MethodFilter::TRACE);
            paths[at].1 = methods.on(filter, move |request: Request| {
                let (route, front) = (route.clone(), front.clone());
                async move { front.serve(&route, request).await }
            });
        }
        let leading = paths.into_iter().fold(Router::new(), |leading, (path, methods)| leading.route(path, methods));
        let (lost, other) = (front.clone(), front.clone());
        let leading = leading
            .fallback(move |request: Request| {
                let front = lost.clone();
                async move { front.lost(request, StatusCode::NOT_FOUND).await }
            })
            .method_not_allowed_fallback(move |request: Request| {
                let front = other.clone();
                async move { front.lost(request, StatusCode::METHOD_NOT_ALLOWED).await }
            });
        (leading, routes)
    }
}
