//! Common clients receive an early answer to an upload: Python's `requests` and `http.client`, Node's `fetch`.

use std::env;

use chatsphere_net::listener::ListenerOptions;
use tokio::process::Command;
use tokio::time::timeout;

use crate::support::{LONG, app, patient, start};
use crate::tls::Identity;

const PYTHON: &str = r#"
import http.client, ssl, sys, time, urllib.parse

url = urllib.parse.urlsplit(sys.argv[1])
context = ssl._create_unverified_context()
for size, pause in (2_000_000, 0), (20_000_000, 0), (1_500_000, 0.2):
    if url.scheme == "https":
        connection = http.client.HTTPSConnection(url.netloc, context=context)
    else:
        connection = http.client.HTTPConnection(url.netloc)
    def pieces():
        for _ in range(0, size, 250_000):
            yield b"x" * 250_000
            time.sleep(pause)
    connection.request("POST", "/unread", body=pieces(), headers={"Content-Length": str(size)})
    assert connection.getresponse().status == 413
try:
    import requests
except ImportError:
    sys.exit()
requests.packages.urllib3.disable_warnings()
for body in b"x" * 2_000_000, b"x" * 20_000_000, pieces():
    assert requests.post(sys.argv[1] + "/unread", data=body, verify=False).status_code == 413
"#;

const NODE: &str = r#"
const [url] = process.argv.slice(1);
for (const size of [2_000_000, 20_000_000]) {
  const answer = await fetch(url + "/unread", { method: "POST", body: Buffer.alloc(size, "x") });
  if (answer.status !== 413) throw new Error(String(answer.status));
  await answer.text();
}
"#;

async fn run(mut command: Command) {
    let output = timeout(LONG, command.kill_on_drop(true).output()).await.expect("in time").unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn usual_clients_see_the_refusal_of_an_upload() {
    let (python, node) = (env::var("CHATSPHERE_TEST_PYTHON"), env::var("CHATSPHERE_TEST_NODE"));
    let (Ok(python), Ok(node)) = (python, node) else {
        assert!(env::var_os("CHATSPHERE_TEST_ALL").is_none(), "no Python and Node.js were named");
        println!("left out: no Python and Node.js were named; `cargo xtask test` runs it");
        return;
    };
    let identity = Identity::new();
    let plain = start(app(), patient()).await;
    let secure = start(app(), ListenerOptions { tls: Some(identity.tls()), ..patient() }).await;
    for url in [format!("http://{}", plain.addr), format!("https://{}", secure.addr)] {
        let mut command = Command::new(&python);
        command.args(["-c", PYTHON, &url]);
        run(command).await;
        let mut command = Command::new(&node);
        command.args(["--input-type=module", "-e", NODE, &url]).env("NODE_TLS_REJECT_UNAUTHORIZED", "0");
        run(command).await;
    }
}
