//! The `s3` connector, which is written in Python, against an S3 made by others that checks every signature.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use crate::languages::{INTERPRETERS, build};
use crate::opsiq::{World, built};

/// The server, which ends with the value.
struct Moto {
    child: Child,
    said: Value,
}

impl Moto {
    /// `None` where `.ci/fixtures` has not fetched it, which is said aloud; with CI set it fails.
    fn start() -> Option<Self> {
        let modules = built().parent().unwrap().join("fixtures/moto");
        if !modules.join("moto").is_dir() {
            assert!(std::env::var_os("CI").is_none(), "CI must have {}: run .ci/fixtures", modules.display());
            eprintln!("NOT RUN: an S3 to ask is missing; .ci/fixtures fetches it, with pip");
            return None;
        }
        let mut child = Command::new("python3")
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("system/s3_server.py"))
            .env("PYTHONPATH", modules)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        Some(Self { child, said: serde_json::from_str(&line).unwrap() })
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

#[test]
fn objects_are_put_listed_and_read() {
    let Some(moto) = Moto::start() else { return };
    let world = World::new();
    world.configure(INTERPRETERS);
    let Some(component) = build(&world, "plugins/s3") else { return };
    let (port, id) = (moto.said["port"].as_u64().unwrap(), moto.said["id"].as_str().unwrap());
    world.open_loopback(u16::try_from(port).unwrap());
    let base = format!("http://127.0.0.1:{port}");
    let config = [("base-url", base.as_str()), ("region", "eu-central-1"), ("bucket", "stuff"), ("access-key-id", id)];
    let secret = moto.said["secret"].as_str().unwrap();
    world.install(&component, "s3", &config, &[("secret-access-key", secret)]);

    let name = "a b/ü+%.txt";
    let put = json!({ "key": name, "content": "Grüße 🙂", "type": "text/plain" });
    assert_eq!(world.call("s3", "put-object", &put).ok()["result"]["size"], 12);
    let binary = json!({ "key": "bin", "content": "//79AAE=", "encoding": "base64" });
    assert_eq!(world.call("s3", "put-object", &binary).ok()["result"]["size"], 5);

    let first = world.call("s3", "list-objects", &json!({ "limit": 1 })).ok()["result"].take();
    assert_eq!((&first["objects"][0]["key"], &first["objects"][0]["size"]), (&json!(name), &json!(12)));
    let rest = world.call("s3", "list-objects", &json!({ "cursor": first["next"] })).ok()["result"].take();
    assert_eq!((&rest["objects"][0]["key"], &rest["next"]), (&json!("bin"), &Value::Null));

    let read = world.call("s3", "get-object", &json!({ "key": name })).ok()["result"].take();
    assert_eq!((&read["content"], &read["encoding"], &read["type"]), (&put["content"], &json!("utf-8"), &put["type"]));
    let read = world.call("s3", "get-object", &json!({ "key": "bin" })).ok()["result"].take();
    assert_eq!((&read["content"], &read["encoding"]), (&binary["content"], &json!("base64")));

    assert_eq!(world.call("s3", "get-object", &json!({ "key": "none" })).refused(7)["code"], "plugin.not-found");
    for harmful in ["../other", "a//b", "/a"] {
        assert_eq!(world.call("s3", "get-object", &json!({ "key": harmful })).refused(7)["code"], "plugin.invalid");
    }
    let link = world.call("s3", "presign-object", &json!({ "key": name, "seconds": 60 }));
    assert!(
        link.code == 0 && !link.stdout.contains("X-Amz-Signature"),
        "a link is shown to whoever asks to see it: {link:?}"
    );

    // The twin: with another secret nothing of this is answered.
    let args = ["--as", "acme/ada", "key", "rotate", "s3", "secret-access-key", "--stdin"];
    world.run_with(&args, "another-secret-access-key").ok();
    let error = world.call("s3", "list-objects", &json!({})).refused(7);
    assert!(error.to_string().contains("SignatureDoesNotMatch"), "{error}");
}
