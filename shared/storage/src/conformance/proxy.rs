//! A proxy between a client and an emulator that loses or replaces answers: what networks and services do to a request
//! after it took effect, and what no emulator does by itself.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::Notify,
    task::JoinHandle,
};

/// What happens to a request.
#[derive(Debug, Clone)]
pub enum Mishap {
    /// It arrives when the test says so, and goes on as usual.
    HeldUp(Arc<Notify>),
    /// It never arrives: the connection breaks.
    RequestLost,
    /// It is carried out, and the connection breaks before the answer.
    AnswerLost,
    /// It is carried out, and answered with this status and body all the same.
    AnsweredAfterwards(u16, String),
    /// It never arrives; the answer is this status and body.
    AnsweredInstead(u16, String),
}

/// Which requests: those whose head (request line and headers) contains a text, and whose body contains another.
///
/// What AWS calls a target is a header; what the request is about, a table say, stands in the body.
#[derive(Debug, Clone)]
pub struct Which {
    head: String,
    body: String,
}

/// Whatever the body.
impl From<&str> for Which {
    fn from(head: &str) -> Self {
        Self::from((head, ""))
    }
}

/// By head and body.
impl From<(&str, &str)> for Which {
    fn from((head, body): (&str, &str)) -> Self {
        Self {
            head: head.to_owned(),
            body: body.to_owned(),
        }
    }
}

/// Requests that have a mishap, so many times.
#[derive(Debug)]
struct Plan {
    which: Which,
    times: usize,
    mishap: Mishap,
}

/// A running proxy; ends when dropped.
#[derive(Debug)]
pub struct Proxy {
    endpoint: String,
    plans: Arc<Mutex<Vec<Plan>>>,
    requests: Arc<Mutex<Vec<(String, String)>>>,
    task: JoinHandle<()>,
}

impl Proxy {
    /// Starts one before `target`, an endpoint like `http://127.0.0.1:5000`.
    pub async fn start(target: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0")
            .await
            .expect("loopback has free ports");
        let endpoint = format!("http://{}", listener.local_addr().expect("it is bound"));
        let target = target.trim_start_matches("http://").to_owned();
        let plans = Arc::new(Mutex::new(Vec::new()));
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (shared_plans, shared_requests) = (Arc::clone(&plans), Arc::clone(&requests));
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (plans, requests) = (Arc::clone(&shared_plans), Arc::clone(&shared_requests));
                let target = target.clone();
                // A connection that breaks is the client's to notice.
                tokio::spawn(async move { serve(client, &target, &plans, &requests).await.ok() });
            }
        });
        Self {
            endpoint,
            plans,
            requests,
            task,
        }
    }

    /// Where it listens.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// The next `times` requests of these have this mishap. Of several plans the earliest that fits is taken.
    pub fn plan(&self, which: impl Into<Which>, times: usize, mishap: Mishap) {
        self.plans
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(Plan {
                which: which.into(),
                times,
                mishap,
            });
    }

    /// From now on every request goes through.
    pub fn clear(&self) {
        self.plans
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
    }

    /// How many requests whose head contains `text` came so far.
    pub fn seen(&self, text: &str) -> usize {
        self.bodies(text).len()
    }

    /// The heads (request line and headers) that contain `text`, of the requests so far.
    pub fn heads(&self, text: &str) -> Vec<String> {
        let requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        let wanted = requests.iter().filter(|(head, _)| head.contains(text));
        wanted.map(|(head, _)| head.clone()).collect()
    }

    /// The bodies of the requests whose head contains `text`, so far.
    pub fn bodies(&self, text: &str) -> Vec<String> {
        let requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        let wanted = requests.iter().filter(|(head, _)| head.contains(text));
        wanted.map(|(_, body)| body.clone()).collect()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// One request, then the connection is closed.
async fn serve(
    mut client: TcpStream,
    target: &str,
    plans: &Mutex<Vec<Plan>>,
    requests: &Mutex<Vec<(String, String)>>,
) -> std::io::Result<()> {
    let mut request = Vec::new();
    let head_end = loop {
        if client.read_buf(&mut request).await? == 0 {
            return Ok(());
        }
        if let Some(position) = request.windows(4).position(|window| window == b"\r\n\r\n") {
            break position + 4;
        }
    };
    let head = String::from_utf8_lossy(&request[..head_end]).into_owned();
    let length = header(&head, "content-length")
        .and_then(|length| length.parse().ok())
        .unwrap_or(0);
    if header(&head, "expect").is_some() {
        client.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
    }
    while request.len() < head_end + length {
        if client.read_buf(&mut request).await? == 0 {
            return Ok(());
        }
    }
    let body = String::from_utf8_lossy(&request[head_end..]).into_owned();
    requests
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .push((head.clone(), body.clone()));
    let mishap = take(plans, &head, &body);
    match &mishap {
        Some(Mishap::AnsweredInstead(status, body)) => {
            return answer(&mut client, *status, body).await;
        }
        Some(Mishap::RequestLost) => return Ok(()),
        Some(Mishap::HeldUp(gate)) => gate.notified().await,
        Some(Mishap::AnswerLost | Mishap::AnsweredAfterwards(..)) | None => {}
    }
    let mut server = TcpStream::connect(target).await?;
    let closing = head
        .trim_end()
        .lines()
        .filter(|line| {
            !line.to_lowercase().starts_with("connection:")
                && !line.to_lowercase().starts_with("expect:")
        })
        .chain(["Connection: close", "", ""])
        .collect::<Vec<_>>()
        .join("\r\n");
    server.write_all(closing.as_bytes()).await?;
    server.write_all(&request[head_end..]).await?;
    let mut response = Vec::new();
    server.read_to_end(&mut response).await?;
    match mishap {
        Some(Mishap::AnswerLost) => Ok(()),
        Some(Mishap::AnsweredAfterwards(status, body)) => answer(&mut client, status, &body).await,
        Some(Mishap::AnsweredInstead(..) | Mishap::RequestLost | Mishap::HeldUp(_)) | None => {
            client.write_all(&response).await?;
            client.shutdown().await
        }
    }
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| {
        let (found, value) = line.split_once(':')?;
        found.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

fn take(plans: &Mutex<Vec<Plan>>, head: &str, body: &str) -> Option<Mishap> {
    let mut plans = plans.lock().unwrap_or_else(PoisonError::into_inner);
    let plan = plans.iter_mut().find(|plan| {
        plan.times > 0 && head.contains(&plan.which.head) && body.contains(&plan.which.body)
    })?;
    plan.times -= 1;
    Some(plan.mishap.clone())
}

async fn answer(client: &mut TcpStream, status: u16, body: &str) -> std::io::Result<()> {
    let kind = if body.starts_with('{') {
        "application/x-amz-json-1.1"
    } else {
        "application/xml"
    };
    let text = format!(
        "HTTP/1.1 {status} Mishap\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    client.write_all(text.as_bytes()).await?;
    client.shutdown().await
}
