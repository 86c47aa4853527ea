//! A name server, over UDP and TCP on one port of the loopback address, whose records a test changes.

use std::{
    collections::HashMap,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, UdpSocket},
    task::JoinSet,
    time::Instant,
};

use super::wire::{self, Data, Question, Record, Type};

/// What is answered to a question.
#[derive(Clone, Debug)]
pub enum Reply {
    Records(Vec<Record>),
    /// NXDOMAIN.
    NoSuchName,
    /// SERVFAIL.
    Fails,
    /// REFUSED.
    Refuses,
    /// No answer at all.
    Silent,
}

/// The longest answer over UDP: what hickory says it takes.
const LONGEST: usize = 1232;

/// What the server knows, and what it was asked.
#[derive(Default)]
struct Zone {
    replies: HashMap<(String, Type), Reply>,
    asked: Vec<Asked>,
    /// Whether no answer goes over UDP.
    truncates: bool,
}

/// A question that was asked.
#[derive(Clone, Debug)]
pub struct Asked {
    pub question: Question,
    pub over_tcp: bool,
    pub at: Instant,
}

/// A name server. It ends when it is dropped.
pub struct NameServer {
    pub address: SocketAddr,
    zone: Arc<Mutex<Zone>>,
    _tasks: JoinSet<()>,
}

impl NameServer {
    /// Starts a server without records: each question is answered by NXDOMAIN.
    pub async fn start() -> Self {
        loop {
            let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
            // The port may be in use by another test, over UDP.
            if let Ok(udp) = UdpSocket::bind(tcp.local_addr().unwrap()).await {
                return Self::serve(udp, tcp);
            }
        }
    }

    /// Starts one at the port that `/etc/resolv.conf` stands for.
    pub async fn start_at_its_own_port() -> Self {
        let address = (Ipv4Addr::LOCALHOST, 53);
        let udp = UdpSocket::bind(address).await.unwrap();
        Self::serve(udp, TcpListener::bind(address).await.unwrap())
    }

    fn serve(udp: UdpSocket, tcp: TcpListener) -> Self {
        let zone = Arc::<Mutex<Zone>>::default();
        let address = tcp.local_addr().unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(serve_udp(udp, zone.clone()));
        tasks.spawn(serve_tcp(tcp, zone.clone()));
        Self {
            address,
            zone,
            _tasks: tasks,
        }
    }

    /// Sets the reply to one question.
    pub fn set(&self, name: &str, of: Type, reply: Reply) {
        let mut zone = self.zone.lock().unwrap();
        zone.replies.insert((name.to_owned(), of), reply);
    }

    /// Sets the IPv4 addresses of a name, which has none of IPv6.
    pub fn set_v4(&self, name: &str, ttl: u32, hosts: impl IntoIterator<Item = Ipv4Addr>) {
        let records = hosts
            .into_iter()
            .map(|host| Record::new(ttl, Data::A(host)));
        self.set(name, Type::A, Reply::Records(records.collect()));
        self.set(name, Type::Aaaa, Reply::Records(Vec::new()));
    }

    /// Sets the reply to the questions for both families of addresses.
    pub fn set_both(&self, name: &str, reply: &Reply) {
        self.set(name, Type::A, reply.clone());
        self.set(name, Type::Aaaa, reply.clone());
    }

    /// Truncates all answers over UDP from now on.
    pub fn truncate(&self) {
        self.zone.lock().unwrap().truncates = true;
    }

    /// Returns what was asked so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.zone.lock().unwrap().asked.clone()
    }
}

async fn serve_udp(udp: UdpSocket, zone: Arc<Mutex<Zone>>) {
    let mut buffer = [0; 4096];
    while let Ok((length, client)) = udp.recv_from(&mut buffer).await {
        if let Some(answer) = answer(&zone, &buffer[..length], false) {
            let _ = udp.send_to(&answer, client).await;
        }
    }
}

async fn serve_tcp(tcp: TcpListener, zone: Arc<Mutex<Zone>>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = tcp.accept().await {
        connections.spawn(serve_connection(stream, zone.clone()));
    }
}

async fn serve_connection(mut stream: TcpStream, zone: Arc<Mutex<Zone>>) {
    while let Ok(length) = stream.read_u16().await {
        let mut query = vec![0; length.into()];
        if stream.read_exact(&mut query).await.is_err() {
            return;
        }
        if let Some(answer) = answer(&zone, &query, true) {
            let length = u16::try_from(answer.len()).unwrap().to_be_bytes();
            let _ = stream.write_all(&[&length[..], &answer].concat()).await;
        }
    }
}

/// The answer to a query, or `None` for silence.
fn answer(zone: &Mutex<Zone>, query: &[u8], over_tcp: bool) -> Option<Vec<u8>> {
    let question = wire::question(query)?;
    let mut zone = zone.lock().unwrap();
    zone.asked.push(Asked {
        question: question.clone(),
        over_tcp,
        at: Instant::now(),
    });
    let reply = zone.replies.get(&(question.name, question.of));
    let (code, records) = match reply.unwrap_or(&Reply::NoSuchName) {
        Reply::Records(records) => (0, &records[..]),
        Reply::Fails => (2, &[][..]),
        Reply::NoSuchName => (3, &[][..]),
        Reply::Refuses => (5, &[][..]),
        Reply::Silent => return None,
    };
    let whole = wire::response(query, code, records, false);
    if !over_tcp && (zone.truncates || whole.len() > LONGEST) {
        return Some(wire::response(query, code, &[], true));
    }
    Some(whole)
}
