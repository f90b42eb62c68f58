//! A TCP proxy before a server that stalls connections, mutes or cuts them, as networks, gateways and
//! frozen servers do. What is stalled is not reset: nobody is told.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, tcp::OwnedReadHalf, tcp::OwnedWriteHalf},
    sync::watch,
    task::JoinHandle,
};

/// What becomes of a connection's bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// They pass.
    Open,
    /// Requests pass, and their answers do not.
    Mute,
    /// Nothing passes, and nobody learns of it.
    Stalled,
    /// The connection is closed.
    Cut,
}

/// A proxy before one server.
#[derive(Clone)]
pub struct Gate {
    port: u16,
    shared: Arc<Shared>,
}

struct Shared {
    /// What each connection that is open does.
    connections: Mutex<BTreeMap<u64, watch::Sender<Flow>>>,
    opened: AtomicU64,
    /// What new connections do.
    new: Mutex<Flow>,
    /// A connection that says this in a request stalls.
    marked: Mutex<Option<Vec<u8>>>,
    stalled: AtomicU64,
}

impl Gate {
    /// Listens on a free port of the loopback interface, for `server` (`host:port`).
    pub async fn start(server: String) -> Self {
        Self::before_each(vec![server]).await
    }

    /// As [`Gate::start`], for servers that connections are shared out among, in turn.
    pub async fn before_each(servers: Vec<String>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let shared = Arc::new(Shared {
            connections: Mutex::default(),
            opened: AtomicU64::new(0),
            new: Mutex::new(Flow::Open),
            marked: Mutex::default(),
            stalled: AtomicU64::new(0),
        });
        let gate = Self { port, shared };
        let accepting = gate.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (gate, servers) = (accepting.clone(), servers.clone());
                tokio::spawn(async move { gate.forward(client, &servers).await });
            }
        });
        gate
    }

    /// In front of the server of `url`; with the URL by way of it.
    pub async fn before(url: &str) -> (Self, String) {
        let host = url.split("://").nth(1).and_then(|rest| rest.split('/').next());
        let server = host.and_then(|host| host.rsplit('@').next()).expect("a host");
        let gate = Self::start(server.to_owned()).await;
        let url = crate::cut::Proxy::url(url, gate.port);
        (gate, url)
    }

    /// The port that it listens on.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// What every connection that is open does from now on; new ones work.
    pub fn all(&self, flow: Flow) {
        self.connections().values().for_each(|sender| {
            sender.send_replace(flow);
        });
    }

    /// What connections do that are opened from now on.
    pub fn new_ones(&self, flow: Flow) {
        *self.shared.new.lock().unwrap_or_else(PoisonError::into_inner) = flow;
    }

    /// A connection stalls as soon as a request on it says `text`.
    pub fn stall_who_says(&self, text: &str) {
        let mut marked = self.shared.marked.lock().unwrap_or_else(PoisonError::into_inner);
        *marked = Some(text.as_bytes().to_vec());
    }

    /// How many have stalled for what they said.
    pub fn stalled(&self) -> u64 {
        self.shared.stalled.load(Ordering::SeqCst)
    }

    /// How many were opened.
    pub fn opened(&self) -> u64 {
        self.shared.opened.load(Ordering::SeqCst)
    }

    /// Stalls, mutes and cuts connections at random until the task is aborted: one thing every
    /// `every` on average. Half of what stalls goes on after a while, the rest never does; now and
    /// then the connections that are opened next stall, too.
    pub fn faults(&self, seed: u64, every: Duration) -> JoinHandle<()> {
        let (gate, mut random) = (self.clone(), Random(seed));
        tokio::spawn(async move {
            loop {
                let pause = every.as_millis() as u64;
                tokio::time::sleep(Duration::from_millis(pause / 2 + random.below(pause))).await;
                gate.fault(&mut random).await;
            }
        })
    }

    async fn fault(&self, random: &mut Random) {
        let ids: Vec<u64> = self.connections().keys().copied().collect();
        let some = if ids.is_empty() { 0 } else { random.below(ids.len() as u64) };
        let Some(id) = ids.get(some as usize).copied() else { return };
        let back = Duration::from_millis(200 + random.below(4_000));
        match random.below(10) {
            0 | 1 => self.one(id, Flow::Cut),
            2 | 3 => self.one(id, Flow::Stalled),
            4 | 5 => self.one(id, Flow::Mute),
            6 | 7 => {
                self.one(id, Flow::Stalled);
                self.back(vec![id], back);
            }
            8 => {
                // The whole network rests.
                self.all(Flow::Stalled);
                self.back(ids, back);
            }
            _ => {
                self.all(Flow::Stalled);
                self.new_ones(Flow::Stalled);
                tokio::time::sleep(back).await;
                self.new_ones(Flow::Open);
            }
        }
    }

    fn back(&self, ids: Vec<u64>, after: Duration) {
        let gate = self.clone();
        tokio::spawn(async move {
            tokio::time::sleep(after).await;
            ids.into_iter().for_each(|id| gate.one(id, Flow::Open));
        });
    }

    fn one(&self, id: u64, flow: Flow) {
        if let Some(connection) = self.connections().get(&id) {
            connection.send_replace(flow);
        }
    }

    fn connections(&self) -> std::sync::MutexGuard<'_, BTreeMap<u64, watch::Sender<Flow>>> {
        self.shared.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn forward(&self, client: TcpStream, servers: &[String]) {
        let id = self.shared.opened.fetch_add(1, Ordering::SeqCst);
        let new = *self.shared.new.lock().unwrap_or_else(PoisonError::into_inner);
        let (sender, flow) = watch::channel(new);
        self.connections().insert(id, sender);
        let server = &servers[id as usize % servers.len()];
        if let Ok(server) = TcpStream::connect(server).await {
            client.set_nodelay(true).and(server.set_nodelay(true)).expect("TCP");
            let ((asks, answered), (answers, asked)) = (client.into_split(), server.into_split());
            let mut cut = flow.clone();
            tokio::select! {
                () = self.pass(id, asks, asked, flow.clone(), &[Flow::Open, Flow::Mute]) => {}
                () = self.pass(id, answers, answered, flow, &[Flow::Open]) => {}
                _ = cut.wait_for(|flow| *flow == Flow::Cut) => {}
            }
        }
        self.connections().remove(&id);
    }

    async fn pass(
        &self,
        id: u64,
        mut from: OwnedReadHalf,
        mut to: OwnedWriteHalf,
        mut flow: watch::Receiver<Flow>,
        open: &[Flow],
    ) {
        let mut bytes = vec![0; 64 * 1024];
        loop {
            if flow.wait_for(|flow| open.contains(flow)).await.is_err() {
                return;
            }
            let read = tokio::select! {
                read = from.read(&mut bytes) => read,
                _ = flow.changed() => continue,
            };
            let Ok(read @ 1..) = read else { return };
            if open.len() > 1 && self.is_marked(&bytes[..read]) {
                self.shared.stalled.fetch_add(1, Ordering::SeqCst);
                self.one(id, Flow::Stalled);
            }
            if flow.wait_for(|flow| open.contains(flow)).await.is_err()
                || to.write_all(&bytes[..read]).await.is_err()
            {
                return;
            }
        }
    }

    fn is_marked(&self, request: &[u8]) -> bool {
        let marked = self.shared.marked.lock().unwrap_or_else(PoisonError::into_inner);
        marked.as_ref().is_some_and(|text| request.windows(text.len()).any(|part| part == text))
    }
}

/// SplitMix64: any spread will do.
pub struct Random(pub u64);

impl Random {
    /// A number below `most`.
    pub fn below(&mut self, most: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % most
    }
}
