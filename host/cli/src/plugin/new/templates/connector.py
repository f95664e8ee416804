from contract import Actions, AddItemParams, AddItemResult, Context, GetItemParams, GetItemResult
from opsiq_sdk import http, url


class Plugin(Actions):
    def get_item(self, ctx: Context, params: GetItemParams) -> GetItemResult:
        item = http.get(url("{}/items/{}", ctx.config["base-url"], params["id"])).raise_for_status().json()
        return {"id": item["id"], "name": item["name"]}

    def add_item(self, ctx: Context, params: AddItemParams) -> AddItemResult:
        answer = http.post(
            url("{}/items", ctx.config["base-url"]),
            headers={"idempotency-key": ctx.idempotency_key or ""},
            json={"name": params["name"]},
        )
        return {"id": answer.raise_for_status().json()["id"]}
