//! A first connector: greets by name, with a word it looks up when asked for another language.

use opsiq_sdk::prelude::*;

opsiq_sdk::plugin!();

impl Actions for Plugin {
    fn hello(ctx: &Context, params: HelloParams) -> Result<HelloResult> {
        let word = match &params.language {
            Some(language) => ctx.http().get(url!("https://words.example.com/hello/{language}")).text()?,
            None => "Hello".into(),
        };
        Ok(HelloResult { greeting: format!("{word}, {}!", params.name) })
    }
}
