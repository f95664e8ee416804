"""A first connector: greets by name, with a word it looks up when asked for another language."""

from contract import Actions, Context, HelloParams, HelloResult
from opsiq_sdk import http, url


class Plugin(Actions):
    def hello(self, ctx: Context, params: HelloParams) -> HelloResult:
        word = "Hello"
        if language := params.get("language"):
            word = http.get(url("https://words.example.com/hello/{}", language)).raise_for_status().text
        return {"greeting": f"{word}, {params['name']}!"}
