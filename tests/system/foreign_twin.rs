//! The twin of compatibility mode: the same component on the engine's own WASI, with a way out that asks nobody.

use std::path::Path;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use wasmtime::component::{Component, Linker, ResourceTable};
use wasmtime::{Config, Engine, Store};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_http::p2::bindings::Proxy;
use wasmtime_wasi_http::p2::bindings::http::types::Scheme;
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpCtx, WasiHttpCtxView, WasiHttpHooks, WasiHttpView};

struct Twin {
    wasi: WasiCtx,
    http: WasiHttpCtx,
    table: ResourceTable,
    hooks: Hooks,
}

impl WasiView for Twin {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl WasiHttpView for Twin {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView { hooks: &mut self.hooks, table: &mut self.table, ctx: &mut self.http }
    }
}

struct Hooks;

type Processing = Box<dyn Future<Output = Result<(), Error>> + Send>;

impl WasiHttpHooks for Hooks {
    fn send_request(
        &mut self,
        request: hyper::Request<WasiBody>,
        _options: Option<RequestOptions>,
        _processed: Processing,
    ) -> Box<dyn Future<Output = Result<(hyper::Response<WasiBody>, Processing), Error>> + Send> {
        Box::new(async move {
            let stream =
                TcpStream::connect(request.uri().authority().unwrap().as_str()).await.map_err(Error::Connect)?;
            let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
            let connection = Box::new(async move { connection.await.map_err(Error::Hyper) });
            let sending = tokio::spawn(Box::into_pin(connection as Processing));
            let response = sender.send_request(request).await?.map(|body| body.map_err(Error::Hyper).boxed_unsync());
            Ok((response, Box::new(async { sending.await.unwrap() }) as Processing))
        })
    }
}

/// Asks the component for one page, in an environment of one variable and a file system of one folder, and answers the
/// body.
pub(crate) fn ask(component: &Path, target: &str, body: &str, folder: &Path) -> String {
    let (component, target, body) = (component.to_owned(), target.to_owned(), body.to_owned());
    let folder = folder.to_owned();
    tokio::runtime::Runtime::new().unwrap().block_on(async move {
        let engine = Engine::new(Config::new().concurrency_support(false)).unwrap();
        let component = Component::from_binary(&engine, &std::fs::read(component).unwrap()).unwrap();
        let mut linker = Linker::new(&engine);
        wasmtime_wasi::p2::add_to_linker_async(&mut linker).unwrap();
        wasmtime_wasi_http::p2::add_only_http_to_linker_async(&mut linker).unwrap();
        let mut wasi = WasiCtx::builder();
        wasi.env("SECRET", "x").preopened_dir(folder, "/", wasmtime_wasi::FsPerms::ReadWrite).unwrap();
        let twin = Twin { wasi: wasi.build(), http: WasiHttpCtx::new(), table: ResourceTable::new(), hooks: Hooks };
        let mut store = Store::new(&engine, twin);
        let request = hyper::Request::post(format!("http://twin.invalid{target}"));
        let request = request.body(Full::new(Bytes::from(body))).unwrap();
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let request = store.data_mut().http().new_incoming_request(Scheme::Http, request).unwrap();
        let out = store.data_mut().http().new_response_outparam(sender).unwrap();
        let proxy = Proxy::instantiate_async(&mut store, &component, &linker).await.unwrap();
        let handling = tokio::spawn(async move {
            proxy.wasi_http_incoming_handler().call_handle(&mut store, request, out).await.unwrap();
        });
        let answer = receiver.await.unwrap().unwrap().into_body().collect().await.unwrap().to_bytes();
        handling.await.unwrap();
        String::from_utf8(answer.to_vec()).unwrap()
    })
}
