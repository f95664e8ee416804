//! Administrative requests under an idempotency key: done once, answered again, and never done twice by themselves.

use opsiq_gate::{Actor, Class, Holding, KeptAnswer, Refusal, Repeat, Repeatable, Stage};

use crate::world::{World, acme};

const ASKED: Repeatable<'static> = Repeatable { key: "k", method: "POST", target: "/v1/users", body: b"{}" };

fn kept() -> KeptAnswer {
    let headers = vec![("location".to_owned(), "/v1/users/sam".to_owned())];
    KeptAnswer { status: 201, headers, body: "{\"name\":\"sam\"}".to_owned() }
}

async fn first(world: &World, actor: &Actor, asked: Repeatable<'_>) -> Holding {
    match world.host.repeat(actor, &asked).await.unwrap() {
        Repeat::First(holding) => holding,
        Repeat::Again(kept) => panic!("{kept:?}"),
    }
}

async fn code(world: &World, actor: &Actor, asked: Repeatable<'_>) -> String {
    world.host.repeat(actor, &asked).await.unwrap_err().code.into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_names_one_request_of_one_principal() {
    let world = World::new().await;
    let (olga, adam) = (acme("olga"), acme("adam"));
    let holding = first(&world, &olga, ASKED).await;
    assert_eq!(code(&world, &olga, ASKED).await, "idempotency.in-flight");
    for other in [
        Repeatable { method: "PUT", ..ASKED },
        Repeatable { target: "/v1/users?x=1", ..ASKED },
        Repeatable { body: b"{ }", ..ASKED },
    ] {
        assert_eq!(code(&world, &olga, other).await, "idempotency.other-params", "{other:?}");
    }
    holding.answered(kept()).await.unwrap();
    let Repeat::Again(again) = world.host.repeat(&olga, &ASKED).await.unwrap() else { panic!("done twice") };
    assert_eq!(again, kept());
    // Another's key of the same text is another.
    drop(first(&world, &adam, ASKED).await);
    assert_eq!(code(&world, &Actor::operator(), ASKED).await, "idempotency.no-tenant");
    assert_eq!(code(&world, &acme("eve"), ASKED).await, "caller.unknown");
    assert_eq!(code(&world, &olga, Repeatable { key: "a b", ..ASKED }).await, "idempotency.malformed");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_did_nothing_gives_its_key_back_and_what_may_have_is_unknown() {
    let world = World::new().await;
    let olga = acme("olga");
    let refusal = |class| Refusal::new(class, Stage::Admin, "test", "", "");
    let holding = first(&world, &olga, ASKED).await;
    holding.refused(&refusal(Class::Conflict)).await.unwrap();
    let holding = first(&world, &olga, Repeatable { body: b"another", ..ASKED }).await;
    holding.refused(&refusal(Class::Unavailable)).await.unwrap();
    assert_eq!(code(&world, &olga, Repeatable { body: b"another", ..ASKED }).await, "idempotency.unknown");
    let unknown = world.host.repeat(&olga, &Repeatable { body: b"another", ..ASKED }).await.unwrap_err();
    assert!(unknown.effect_possible);
}
