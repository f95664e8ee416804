//! A program for `wasi:cli`: params on standard input, words on the command line, the result on standard output.

use std::io::Read as _;

use serde_json::{Value, json};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let mut said = String::new();
    std::io::stdin().read_to_string(&mut said).unwrap();
    let said: Value = serde_json::from_str(&said).unwrap();
    eprintln!("asked for {}", arguments.join(" "));
    match arguments.first().map(String::as_str) {
        Some("fail") => std::process::exit(2),
        Some("nothing") => {}
        Some("text") => print!("no JSON"),
        Some("large") => print!("{}", "x".repeat(8 << 20)),
        _ => println!("{}", json!({ "arguments": arguments, "said": said, "variables": std::env::vars().count() })),
    }
}
