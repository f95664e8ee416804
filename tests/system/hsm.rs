//! The root key closed by a token, against Debian's `SoftHSM`: what lies on the disk opens nothing, and everything else is as
//! with a key in clear.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::canary::find;
use crate::opsiq::{Ran, World, guest};

const PIN: &str = "kanarienvogel-pin-4711";

/// A token of its own, which goes with the value. Where `SoftHSM` is missing that is said; where it is promised, the test fails.
struct Token {
    module: PathBuf,
    dir: TempDir,
}

impl Token {
    fn new() -> Option<Self> {
        let places = ["/usr/lib/softhsm", "/usr/lib/x86_64-linux-gnu/softhsm", "/usr/lib/aarch64-linux-gnu/softhsm"];
        let found = places.iter().map(|place| Path::new(place).join("libsofthsm2.so")).find(|path| path.exists());
        let Some(module) = found else {
            let promised = ["CI", "OPSIQ_REQUIRE_SERVERS"].iter().any(|name| std::env::var_os(name).is_some());
            assert!(!promised, "SoftHSM is promised and missing: apt-get install softhsm2");
            eprintln!("NOT TESTED: there is no SoftHSM");
            return None;
        };
        let token = Self { module, dir: tempfile::tempdir().unwrap() };
        fs::create_dir(token.tokens()).unwrap();
        fs::write(token.conf(), format!("directories.tokendir = {}\n", token.tokens().display())).unwrap();
        let made = Command::new("softhsm2-util")
            .env("SOFTHSM2_CONF", token.conf())
            .args(["--init-token", "--free", "--label", "vault", "--pin", PIN, "--so-pin", "0123456789"])
            .stdout(Stdio::null())
            .status();
        assert!(made.unwrap().success());
        Some(token)
    }

    fn conf(&self) -> PathBuf {
        self.dir.path().join("softhsm2.conf")
    }

    fn tokens(&self) -> PathBuf {
        self.dir.path().join("tokens")
    }

    /// As the operator's file names it.
    fn section(&self, key: &str) -> String {
        let module = self.module.display();
        format!("[root]\npkcs11-module = \"{module}\"\npkcs11-token = \"vault\"\npkcs11-key = \"{key}\"\n")
    }

    /// A host whose root key it closes.
    fn world(&self) -> World {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");
        let world = World::bare(dir, data);
        let module = self.module.to_str().unwrap();
        let named = [("MODULE", module), ("TOKEN", "vault"), ("KEY", "root-1"), ("PIN", PIN)];
        let variables: Vec<_> =
            named.iter().map(|(name, value)| (format!("OPSIQ_ROOT_PKCS11_{name}"), *value)).collect();
        let mut command = world.command(&["init"]);
        command.envs(variables).env("SOFTHSM2_CONF", self.conf());
        Ran::of(&["init"], command.output().unwrap()).ok();
        world
    }

    fn command(&self, world: &World, args: &[&str]) -> Command {
        let mut command = world.command(args);
        command.env("SOFTHSM2_CONF", self.conf()).env("OPSIQ_ROOT_PKCS11_PIN", PIN);
        command
    }

    fn run(&self, world: &World, args: &[&str]) -> Ran {
        Ran::of(args, self.command(world, args).output().unwrap())
    }
}

fn file(world: &World) -> Value {
    serde_json::from_str(&fs::read_to_string(world.data().join("root.key")).unwrap()).unwrap()
}

#[test]
fn the_root_key_opens_by_the_token_alone() {
    let Some(token) = Token::new() else { return };
    let world = token.world();
    let closed = file(&world);
    assert_eq!((&closed["kms"], &closed["key"]), (&"pkcs11".into(), &"root-1".into()));
    token.run(&world, &["tenant", "create", "acme", "--owner", "ada"]).ok();
    let plugin = token.run(&world, &["plugin", "register", guest("hello").to_str().unwrap()]).ok()["plugin"].clone();
    let install = ["--as", "acme/ada", "connector", "install", plugin.as_str().unwrap(), "--name", "hello", "--yes"];
    token.run(&world, &install).ok();
    let call = ["--as", "acme/ada", "action", "call", "hello", "hello", "--params", r#"{"name":"Ada"}"#];
    token.run(&world, &call).ok();

    let verified = token.run(&world, &["keys", "verify"]).ok();
    assert!(verified["root_kept"].as_str().unwrap().contains("root-1 of the token vault"), "{verified}");
    let doctor = token.run(&world, &["doctor"]);
    assert!(doctor.code == 0 && doctor.stdout.contains("closed by the key root-1"), "{doctor:?}");

    // Without the PIN, with a wrong one, without the token, and with none named.
    let refused = |change: &dyn Fn(&mut Command), code: u8, rule: &str| {
        let mut command = token.command(&world, &["tenant", "list"]);
        change(&mut command);
        let ran = Ran::of(&["tenant", "list"], command.output().unwrap());
        let error = ran.refused(code.into());
        assert_eq!(error["code"], rule, "{error}");
        assert!(error["title"].as_str().unwrap().contains("expects root key"), "{error}");
        assert!(!format!("{ran:?}").contains(PIN));
    };
    refused(
        &|command| {
            command.env_remove("OPSIQ_ROOT_PKCS11_PIN");
        },
        6,
        "root.pin",
    );
    refused(
        &|command| {
            command.env("OPSIQ_ROOT_PKCS11_PIN", "0000");
        },
        8,
        "root.kms",
    );
    refused(
        &|command| {
            command.env("SOFTHSM2_CONF", "/nowhere");
        },
        8,
        "root.kms",
    );
    refused(
        &|command| {
            command.env("OPSIQ_ROOT_KEY", "opsiq-root-1-00");
        },
        6,
        "root.two-ways",
    );
    let config = world.data().join("opsiq.toml");
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, text.replace("\n[root]", "\n# [root]").replace("\npkcs11", "\n# pkcs11")).unwrap();
    refused(&|_| {}, 3, "root.closed");
    fs::write(
        &config,
        text.replace("libsofthsm2.so\"\npkcs11-token = \"vault\"", "none.so\"\npkcs11-token = \"vault\""),
    )
    .unwrap();
    refused(&|_| {}, 8, "root.kms");
    fs::write(&config, text).unwrap();

    // Not one digit of the closed form may be another.
    let path = world.data().join("root.key");
    let whole = fs::read_to_string(&path).unwrap();
    for name in ["closed", "nonce", "root"] {
        let value = closed[name].as_str().unwrap();
        let other = if value.starts_with('0') { "1" } else { "0" };
        fs::write(&path, whole.replace(value, &format!("{other}{}", &value[1..]))).unwrap();
        token.run(&world, &["tenant", "list"]).refused(8);
    }
    fs::write(&path, whole).unwrap();
    token.run(&world, &call).ok();

    // What is on the disk holds neither PIN nor key, and without the token it opens nothing, for ever.
    for file in crate::admission::files(world.data()) {
        let bytes = fs::read(&file).unwrap();
        assert!(!find(&bytes, PIN) && !find(&bytes, "opsiq-root-1-"), "{}", file.display());
    }
    fs::remove_dir_all(token.tokens()).unwrap();
    fs::create_dir(token.tokens()).unwrap();
    assert_eq!(token.run(&world, &["tenant", "list"]).refused(8)["code"], "root.kms");
}

/// What the token itself says of the key, through its maker's own tool.
#[test]
fn the_key_never_leaves_the_token() {
    let Some(token) = Token::new() else { return };
    token.world();
    let objects = crate::admission::files(&token.tokens());
    let mut dumped = String::new();
    for object in objects.iter().filter(|path| path.extension().is_some_and(|end| end == "object")) {
        let out = Command::new("softhsm2-dump-file").arg(object).output().unwrap();
        dumped.push_str(&String::from_utf8_lossy(&out.stdout));
    }
    let said = |attribute: &str| {
        let mut lines = dumped.lines().skip_while(|line| !line.contains(attribute));
        lines
            .find(|line| line.contains("TRUE") || line.contains("FALSE"))
            .unwrap_or_else(|| panic!("{attribute}: {dumped}"))
            .to_owned()
    };
    assert!(said("CKA_SENSITIVE").contains("TRUE") && said("CKA_EXTRACTABLE").contains("FALSE"), "{dumped}");
    assert!(said("CKA_NEVER_EXTRACTABLE").contains("TRUE") && said("CKA_PRIVATE").contains("TRUE"), "{dumped}");
}

#[test]
fn the_root_key_and_the_tokens_key_rotate() {
    let Some(token) = Token::new() else { return };
    let world = token.world();
    token.run(&world, &["tenant", "create", "acme", "--owner", "ada"]).ok();
    let before = file(&world);
    token.run(&world, &["keys", "rotate", "--root"]).ok();
    let after = file(&world);
    assert_ne!(before["root"], after["root"]);
    assert_eq!(before["key"], after["key"]);
    token.run(&world, &["keys", "verify"]).ok();
    // A copy of the file of before opens nothing any more.
    let path = world.data().join("root.key");
    let whole = fs::read_to_string(&path).unwrap();
    fs::write(&path, before.to_string()).unwrap();
    let wrong = token.run(&world, &["tenant", "list"]).refused(3);
    assert!(wrong.to_string().contains(after["root"].as_str().unwrap()), "{wrong}");
    fs::write(&path, whole).unwrap();

    // Another key of the token: named, and made by the rotation.
    let config = world.data().join("opsiq.toml");
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, text.replace("\npkcs11-key = \"root-1\"", "\npkcs11-key = \"root-2\"")).unwrap();
    token.run(&world, &["tenant", "list"]).ok();
    token.run(&world, &["keys", "rotate", "--root"]).ok();
    assert_eq!(file(&world)["key"], "root-2");
    assert!(token.run(&world, &["keys", "verify"]).ok()["root_kept"].as_str().unwrap().contains("root-2"));
    assert_eq!(token.run(&world, &["doctor"]).code, 0);
}

#[test]
fn a_host_moves_to_a_token_and_its_backups_with_it() {
    let Some(token) = Token::new() else { return };
    let world = World::new();
    world.run(&["tenant", "create", "acme", "--owner", "ada"]).ok();
    let clear = fs::read_to_string(world.data().join("root.key")).unwrap();
    world.configure(&token.section("root-1"));
    let doctor = token.run(&world, &["doctor"]);
    assert!(doctor.stdout.contains("in clear although"), "{doctor:?}");
    token.run(&world, &["keys", "rotate", "--root"]).ok();
    assert_eq!(file(&world)["key"], "root-1");
    let doctor = token.run(&world, &["doctor"]);
    assert!(doctor.stdout.contains("closed by"), "{doctor:?}");
    for file in crate::admission::files(world.data()) {
        assert!(!find(&fs::read(&file).unwrap(), clear.trim()), "{}", file.display());
    }

    let backup = world.file("backup");
    token.run(&world, &["backup", backup.to_str().unwrap()]).ok();
    let (root, epochs) = (world.file("safe.key"), world.file("safe.key.epochs"));
    fs::copy(world.data().join("root.key"), &root).unwrap();
    fs::copy(world.data().join("root.key.epochs"), epochs).unwrap();
    let new = world.file("new");
    let restore = |pin: &str| {
        let module = token.module.to_str().unwrap();
        let args = ["--root-key-file", root.to_str().unwrap()];
        let token_args =
            ["--root-pkcs11-module", module, "--root-pkcs11-token", "vault", "--root-pkcs11-key", "root-1"];
        let mut command = World::command_on(&new, &args);
        command.args(token_args).args(["restore", backup.to_str().unwrap(), "--reason", "drill"]);
        command.env("SOFTHSM2_CONF", token.conf()).env("OPSIQ_ROOT_PKCS11_PIN", pin);
        Ran::of(&["restore"], command.output().unwrap())
    };
    assert_eq!(restore("0000").refused(8)["code"], "root.kms");
    restore(PIN).ok();
    let mut command = World::command_on(&new, &["--root-key-file", root.to_str().unwrap()]);
    command.env("SOFTHSM2_CONF", token.conf()).env("OPSIQ_ROOT_PKCS11_PIN", PIN);
    command.args(["--as", "acme/ada", "connector", "list"]);
    assert_eq!(Ran::of(&["list"], command.output().unwrap()).ok(), json!([]));
}

/// A host that is sealed for a wrong PIN does not try it again and again, which would lock the token, and opens once it is right.
#[test]
fn a_sealed_host_opens_once_the_pin_is_right() {
    let Some(token) = Token::new() else { return };
    let world = token.world();
    let pin = world.file("pin");
    fs::write(&pin, "0000\n").unwrap();
    let config = world.data().join("opsiq.toml");
    let named = format!("\n[root]\npkcs11-pin-file = \"{}\"\n", pin.display());
    fs::write(&config, fs::read_to_string(&config).unwrap().replace("\n[root]\n", &named)).unwrap();
    let mut command = token.command(&world, &["serve"]);
    command.env_remove("OPSIQ_ROOT_PKCS11_PIN").env("OPSIQ_LOG", "error").env("OPSIQ_SERVER__LISTEN", "127.0.0.1:0");
    let mut child = command.env("OPSIQ_SERVER__OPERATOR_LISTEN", "127.0.0.1:0").spawn().unwrap();
    let (mut said, mut told) = (BufReader::new(child.stdout.take().unwrap()), String::new());
    let mut sealed = BufReader::new(child.stderr.take().unwrap());
    while !told.contains("sealed") {
        told.clear();
        assert!(sealed.read_line(&mut told).unwrap() > 0, "it ended");
    }
    assert!(told.contains("root.kms") && !told.contains("0000"), "{told}");
    fs::write(&pin, PIN).unwrap();
    let mut line = String::new();
    said.read_line(&mut line).unwrap();
    assert!(line.contains("https://"), "{line}");
    child.kill().unwrap();
    child.wait().unwrap();
}
