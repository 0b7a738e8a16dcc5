//! Tests of migration from the Node.js version: the server rejects its database, and a command imports it.

use std::path::Path;
use std::process::Output;
use std::time::Duration;

use tokio::process::Command;

use crate::needs;
use crate::server::{Api, Server};

const OLD: &str = r#"
    CREATE TYPE "Role" AS ENUM ('ADMIN', 'MODERATOR', 'MEMBER');
    CREATE TABLE "User" (id TEXT PRIMARY KEY, username TEXT NOT NULL UNIQUE, role "Role" NOT NULL DEFAULT 'MEMBER');
    CREATE TABLE "Room" (id TEXT PRIMARY KEY, name TEXT NOT NULL,
        "createdAt" TIMESTAMP(3) NOT NULL, "updatedAt" TIMESTAMP(3) NOT NULL);
    CREATE TABLE "Message" (
        id TEXT PRIMARY KEY, content TEXT NOT NULL, "createdAt" TIMESTAMP(3) NOT NULL, "updatedAt" TIMESTAMP(3) NOT NULL,
        "userId" TEXT NOT NULL REFERENCES "User" (id), "roomId" TEXT NOT NULL REFERENCES "Room" (id)
    );
    CREATE TABLE "_RoomUsers" ("A" TEXT NOT NULL, "B" TEXT NOT NULL, UNIQUE ("A", "B"));
    CREATE TABLE "ApiToken" (id TEXT PRIMARY KEY);
    CREATE TABLE _prisma_migrations (id TEXT PRIMARY KEY);
    INSERT INTO "User" VALUES ('u-ada', 'ada', 'ADMIN'), ('u-admin', 'admin', 'ADMIN');
    INSERT INTO "Room" VALUES ('default-room', 'lobby', '2023-01-01', '2023-01-01');
    INSERT INTO "_RoomUsers" VALUES ('default-room', 'u-ada');
    INSERT INTO "ApiToken" VALUES ('t');
    INSERT INTO "Message" SELECT gen_random_uuid()::text, 'line ' || n, timestamp '2023-01-02' + n * interval '1 s',
            '2023-01-02', 'u-ada', 'default-room'
        FROM generate_series(1, 300) n;
    INSERT INTO "Message" VALUES ('big', repeat('x', 2000000), '2023-01-02 12:00', '2023-01-02', 'u-ada', 'default-room');
    INSERT INTO "Message" VALUES ('m', 'by admin', '2023-01-03', '2023-01-03', 'u-admin', 'default-room');
"#;
/// Computed by Python's `uuid.uuid5(uuid.NAMESPACE_URL, "chatsphere:default-room")`.
const LOBBY: &str = "2393a148-81ef-521f-a8b4-0eb42ed7338c";

async fn run(arguments: &[&str], data: &Path, database: Option<&str>) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_chatsphere"));
    command.args(arguments).arg("--data-dir").arg(data).env_clear().current_dir(data.parent().unwrap());
    command.envs(database.map(|url| ("DATABASE_URL", url)));
    command.output().await.unwrap()
}

fn told(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_old_database_is_rejected_and_its_data_imported() {
    let Some(old) = needs::postgres_database().await else { return };
    old.execute(OLD).await;
    let url = format!("{}?schema=public&connection_limit=5&pool_timeout=2&pgbouncer=true", old.url);
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    for arguments in [
        &["serve", "--port", "0"][..],
        &["migrate"],
        &["token", "create", "--client", "--email", "ops@example.com"],
        &["user", "create", "bob"],
        &["user", "list"],
    ] {
        let refused = run(arguments, &directory.path().join("elsewhere"), Some(&url)).await;
        assert_eq!(refused.status.code(), Some(1), "{arguments:?}: {}", told(&refused));
        assert!(told(&refused).contains("chatsphere import nodejs"), "{arguments:?}: {}", told(&refused));
    }
    old.execute("DO $$ BEGIN ASSERT (SELECT count(*) = 6 FROM pg_tables WHERE schemaname = 'public'); END $$").await;

    // A wrong URL creates nothing.
    let wrong = run(&["import", "nodejs", "postgresql://nobody@127.0.0.1:1/x"], &data, None).await;
    assert_eq!(wrong.status.code(), Some(1), "{}", told(&wrong));
    assert!(!data.exists());

    let imported = run(&["import", "nodejs", &url], &data, None).await;
    let text = told(&imported);
    assert!(imported.status.success(), "{text}");
    for line in [
        "\"admin\" (id \"u-admin\") was left out",
        &format!("room \"default-room\" is now {LOBBY}"),
        "1 tokens were not taken over",
        "all counts agree",
        "client-token",
        "100 %",
    ] {
        assert!(text.contains(line), "{line} is not in {text}");
    }

    let server = Server::start(&data, 0, &[]).await;
    let token = std::fs::read_to_string(data.join("client-token")).unwrap();
    let lines = Api::new(&server.url(), &token).history(LOBBY).await;
    assert_eq!(lines.len(), 301);
    assert_eq!(lines[300]["content"].as_str().unwrap().len(), 2_000_000);
    assert_eq!((&lines[0]["content"], &lines[299]["content"]), (&"line 1".into(), &"line 300".into()));
    assert_eq!((&lines[0]["seq"], &lines[0]["createdAt"]), (&2.into(), &"2023-01-02T00:00:01.000Z".into()));
    let beside = run(&["import", "nodejs", &url], &data, None).await;
    assert_eq!(beside.status.code(), Some(1), "a server runs on it: {}", told(&beside));
    server.stop(Duration::from_secs(15)).await;

    let again = run(&["import", "nodejs", &url, "--rename"], &data, None).await;
    assert!(again.status.success() && told(&again).contains("is now \"admin-2\""), "{}", told(&again));
    old.drop().await;
}
