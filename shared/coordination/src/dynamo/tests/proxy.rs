//! For tests: a proxy before an emulator that does to requests what networks and busy services do.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
};

use serde_json::Value;

/// A request to DynamoDB, as the proxy's rule sees it.
#[derive(Debug)]
pub(crate) struct Request {
    /// The operation, such as `PutItem`.
    pub(crate) operation: String,
    pub(crate) body: Value,
}

/// What becomes of a request.
#[derive(Debug, Clone)]
pub(crate) enum Fate {
    /// It is answered.
    Pass,
    /// It takes effect, and its answer is lost.
    LoseAnswer,
    /// It takes no effect and is answered with this error of DynamoDB's.
    Refuse(Value),
    /// Of a batch only the first half is done; the answer names the rest.
    DoHalf,
    /// It takes no effect; this is answered.
    Answer(String),
}

type Rule = Box<dyn FnMut(&Request) -> Fate + Send>;

/// The proxy; ends when dropped.
pub(crate) struct Proxy {
    address: SocketAddr,
    ended: Arc<AtomicBool>,
    acceptor: Option<JoinHandle<()>>,
    answers: Arc<Mutex<Vec<(String, String)>>>,
}

impl Proxy {
    /// Starts a proxy on a free port before the server at `endpoint`.
    pub(crate) fn start(
        endpoint: &str,
        rule: impl FnMut(&Request) -> Fate + Send + 'static,
    ) -> Self {
        let server: SocketAddr = endpoint
            .trim_start_matches("http://")
            .trim_end_matches('/')
            .parse()
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let ended = Arc::new(AtomicBool::new(false));
        let answers = Arc::new(Mutex::new(Vec::new()));
        let rule: Arc<Mutex<Rule>> = Arc::new(Mutex::new(Box::new(rule)));
        let acceptor = {
            let (ended, answers) = (Arc::clone(&ended), Arc::clone(&answers));
            std::thread::spawn(move || {
                for client in listener.incoming() {
                    if ended.load(Ordering::SeqCst) {
                        return;
                    }
                    let (rule, answers) = (Arc::clone(&rule), Arc::clone(&answers));
                    // One that breaks off is the client's to try again.
                    std::thread::spawn(move || serve(client?, server, &rule, &answers));
                }
            })
        };
        Self {
            address,
            ended,
            acceptor: Some(acceptor),
            answers,
        }
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The bodies of all answers to one operation so far.
    pub(crate) fn answers(&self, operation: &str) -> Vec<String> {
        let answers = self.answers.lock().unwrap();
        let of_operation = answers.iter().filter(|(name, _)| name == operation);
        of_operation.map(|(_, body)| body.clone()).collect()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
        // Wakes the acceptor up, which then sees that it is over.
        drop(TcpStream::connect(self.address));
        if let Some(acceptor) = self.acceptor.take() {
            acceptor.join().unwrap();
        }
    }
}

/// Head and body of an HTTP message with a content length.
fn read_message(stream: &mut BufReader<TcpStream>) -> std::io::Result<(Vec<String>, Vec<u8>)> {
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line)? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        let line = line.trim_end().to_owned();
        if line.is_empty() {
            break;
        }
        head.push(line);
    }
    let length = header(&head, "content-length").and_then(|length| length.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    stream.read_exact(&mut body)?;
    Ok((head, body))
}

fn header<'a>(head: &'a [String], name: &str) -> Option<&'a str> {
    head.iter().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        key.eq_ignore_ascii_case(name).then_some(value.trim())
    })
}

fn forward(server: SocketAddr, head: &[String], body: &[u8]) -> std::io::Result<(String, String)> {
    let mut upstream = TcpStream::connect(server)?;
    let mut text = String::new();
    for line in head {
        let key = line.split(':').next().unwrap_or_default();
        if !["connection", "content-length"].contains(&key.to_lowercase().as_str()) {
            text += line;
            text += "\r\n";
        }
    }
    text += &format!(
        "content-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    upstream.write_all(text.as_bytes())?;
    upstream.write_all(body)?;
    let (head, body) = read_message(&mut BufReader::new(upstream))?;
    let status = head.first().cloned().unwrap_or_default();
    Ok((status, String::from_utf8_lossy(&body).into_owned()))
}

fn answer(client: &mut TcpStream, status: &str, body: &str) -> std::io::Result<()> {
    write!(
        client,
        "{status}\r\ncontent-type: application/x-amz-json-1.0\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    )
}

/// Cuts a batch in two: what is done, and what is left, as its answer would name it.
fn halve(request: &Request) -> Option<(Value, Value)> {
    let mut done = request.body.clone();
    let mut left = request.body["RequestItems"].clone();
    let items = done["RequestItems"].as_object_mut()?;
    let (table, wanted) = items.iter_mut().next()?;
    let table = table.clone();
    let list = |value: &Value| value.as_array().or(value["Keys"].as_array()).cloned();
    let all = list(wanted)?;
    let (first, second) = all.split_at(all.len().div_ceil(2));
    if second.is_empty() {
        return None;
    }
    if wanted.is_array() {
        *wanted = first.into();
        left[&table] = second.into();
    } else {
        wanted["Keys"] = first.into();
        left[&table]["Keys"] = second.into();
    }
    Some((done, left))
}

fn serve(
    client: TcpStream,
    server: SocketAddr,
    rule: &Mutex<Rule>,
    answers: &Mutex<Vec<(String, String)>>,
) -> std::io::Result<()> {
    let mut reader = BufReader::new(client);
    let (head, body) = read_message(&mut reader)?;
    let mut client = reader.into_inner();
    let target = header(&head, "x-amz-target").unwrap_or_default();
    let request = Request {
        operation: target.rsplit('.').next().unwrap_or_default().to_owned(),
        body: serde_json::from_slice(&body).unwrap_or_default(),
    };
    let fate = (rule.lock().unwrap())(&request);
    match fate {
        Fate::LoseAnswer => {
            forward(server, &head, &body)?;
            client.shutdown(Shutdown::Both)
        }
        Fate::Refuse(error) => answer(&mut client, "HTTP/1.1 400 Bad Request", &error.to_string()),
        Fate::Answer(body) => answer(&mut client, "HTTP/1.1 200 OK", &body),
        Fate::DoHalf if let Some((done, left)) = halve(&request) => {
            let (status, body) = forward(server, &head, done.to_string().as_bytes())?;
            let mut body: Value = serde_json::from_str(&body)?;
            let name = if request.operation == "BatchGetItem" {
                "UnprocessedKeys"
            } else {
                "UnprocessedItems"
            };
            body[name] = left;
            answer(&mut client, &status, &body.to_string())
        }
        Fate::Pass | Fate::DoHalf => {
            let (status, body) = forward(server, &head, &body)?;
            answers
                .lock()
                .unwrap()
                .push((request.operation, body.clone()));
            answer(&mut client, &status, &body)
        }
    }
}
