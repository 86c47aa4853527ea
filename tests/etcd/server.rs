//! Members of etcd, as processes that can be killed and started again, and what writes to them.

use std::{
    fs::{self, File},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use http::uri::PathAndQuery;
use prost::Message;
use tonic::{Request, Status, client::Grpc, transport::Endpoint};
use tonic_prost::ProstCodec;

use super::messages::{
    AuthToken, Authenticate, Compaction, DeleteRange, Empty, Lease, LeaseGrant, Put, Revision,
    Written,
};
use super::support::within;

/// A cluster of etcd. Its processes end with it.
pub struct EtcdCluster {
    folder: PathBuf,
    members: Vec<EtcdProcess>,
    /// Further arguments of each.
    args: Vec<String>,
    /// What asks as a user who is logged in.
    token: Option<String>,
}

/// A member.
struct EtcdProcess {
    client: u16,
    tls: u16,
    peer: u16,
    child: Option<Child>,
}

/// Returns a port that nothing listens at.
fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

impl EtcdCluster {
    /// Starts members, each with further arguments. Returns `None`, with a word, where etcd is not installed.
    pub async fn start(test: &str, members: usize, args: &[&str]) -> Option<Self> {
        if Command::new("etcd").arg("--version").output().is_err() {
            eprintln!("skipped: etcd is not installed (Debian's package is etcd-server)");
            return None;
        }
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("etcd-{test}"));
        // A port that was free may be taken when etcd gets to it.
        for _ in 0..5 {
            let _ = fs::remove_dir_all(&folder);
            fs::create_dir_all(&folder).unwrap();
            let process = |_| EtcdProcess {
                client: free_port(),
                tls: free_port(),
                peer: free_port(),
                child: None,
            };
            let mut cluster = Self {
                folder: folder.clone(),
                members: (0..members).map(process).collect(),
                args: args.iter().map(ToString::to_string).collect(),
                token: None,
            };
            (0..members).for_each(|nth| cluster.spawn(nth));
            if cluster.answers().await {
                return Some(cluster);
            }
        }
        panic!("etcd does not start: see {}", folder.display());
    }

    /// The URL of a member.
    pub fn url(&self, nth: usize) -> String {
        format!("http://127.0.0.1:{}", self.members[nth].client)
    }

    /// The URL of a member over TLS, if it was given a certificate.
    pub fn tls_url(&self, nth: usize) -> String {
        format!("https://127.0.0.1:{}", self.members[nth].tls)
    }

    /// Starts a member that is not there.
    fn spawn(&mut self, nth: usize) {
        let peers = self.members.iter().zip(0..);
        let peers: Vec<_> = peers
            .map(|(member, nth)| format!("m{nth}=http://127.0.0.1:{}", member.peer))
            .collect();
        let EtcdProcess {
            client, tls, peer, ..
        } = self.members[nth];
        let mut urls = format!("http://127.0.0.1:{client}");
        if self.args.iter().any(|arg| arg.contains("cert-file")) {
            urls += &format!(",https://127.0.0.1:{tls}");
        }
        let log = File::create(self.folder.join(format!("m{nth}.log"))).unwrap();
        let child = Command::new("etcd")
            .args(["--name", &format!("m{nth}")])
            .arg("--data-dir")
            .arg(self.folder.join(format!("m{nth}")))
            .args(["--listen-client-urls", &urls])
            .args(["--advertise-client-urls", &urls])
            .args(["--listen-peer-urls", &format!("http://127.0.0.1:{peer}")])
            .args([
                "--initial-advertise-peer-urls",
                &format!("http://127.0.0.1:{peer}"),
            ])
            .args(["--initial-cluster", &peers.join(",")])
            // Three members on a machine with two cores must not hold elections all the time.
            .args(["--heartbeat-interval", "100", "--election-timeout", "1000"])
            .args(&self.args)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn();
        self.members[nth].child = Some(child.unwrap());
    }

    /// Kills a member, as `kill -9` does.
    pub fn kill(&mut self, nth: usize) {
        if let Some(mut child) = self.members[nth].child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Starts a member again, at the same addresses and with the data that it had, and waits until it answers.
    pub async fn start_again(&mut self, nth: usize) {
        self.spawn(nth);
        assert!(self.answers().await, "it is not back");
    }

    /// The same, for a cluster that only takes this user's writes.
    pub async fn start_again_as(&mut self, name: &str, password: &str) {
        self.token = None;
        self.spawn(0);
        within(async {
            while self.log_in(name, password).await.is_err() {
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
        })
        .await;
    }

    /// Takes all data of a member that was killed.
    pub fn wipe(&self, nth: usize) {
        fs::remove_dir_all(self.folder.join(format!("m{nth}"))).unwrap();
    }

    /// Waits until the cluster takes writes. Returns whether it ever does.
    async fn answers(&mut self) -> bool {
        within(async {
            loop {
                if self.write("/test", "").await.is_ok() {
                    return true;
                }
                let mut children = self
                    .members
                    .iter_mut()
                    .filter_map(|member| member.child.as_mut());
                if children.any(|child| child.try_wait().unwrap().is_some()) {
                    return false;
                }
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
        })
        .await
    }

    /// Calls a method, at the first member that is there.
    pub async fn call<Q, A>(&self, method: &'static str, request: Q) -> Result<A, Status>
    where
        Q: Message + 'static,
        A: Message + Default + 'static,
    {
        let member = self
            .members
            .iter()
            .position(|member| member.child.is_some());
        let endpoint = Endpoint::from_shared(self.url(member.unwrap())).unwrap();
        let channel = endpoint.connect().await;
        let channel = channel.map_err(|error| Status::unavailable(error.to_string()))?;
        let mut grpc = Grpc::new(channel);
        let ready = grpc.ready().await;
        ready.map_err(|error| Status::unavailable(error.to_string()))?;
        let mut request = Request::new(request);
        request.set_timeout(std::time::Duration::from_secs(5));
        if let Some(token) = &self.token {
            request
                .metadata_mut()
                .insert("token", token.parse().unwrap());
        }
        let path = PathAndQuery::from_static(method);
        let codec = ProstCodec::<Q, A>::default();
        grpc.unary(request, path, codec)
            .await
            .map(tonic::Response::into_inner)
    }

    async fn write(&self, key: &str, value: &str) -> Result<Written, Status> {
        let put = Put {
            key: key.into(),
            value: value.into(),
            lease: 0,
        };
        self.call("/etcdserverpb.KV/Put", put).await
    }

    /// Puts a key, and returns the revision.
    pub async fn put(&self, key: &str, value: &str) -> i64 {
        let written = self.write(key, value).await.unwrap();
        written.header.map_or(0, |Revision { revision }| revision)
    }

    /// Deletes a key.
    pub async fn delete(&self, key: &str) {
        let delete = DeleteRange { key: key.into() };
        let _: Empty = self
            .call("/etcdserverpb.KV/DeleteRange", delete)
            .await
            .unwrap();
    }

    /// Forgets what was before a revision.
    pub async fn compact(&self, revision: i64) {
        let _: Empty = self
            .call("/etcdserverpb.KV/Compact", Compaction { revision })
            .await
            .unwrap();
    }

    /// Puts a key that lives for as many seconds as etcd allows at least.
    pub async fn put_for_a_while(&self, key: &str, value: &str) {
        let lease: Lease = self
            .call("/etcdserverpb.Lease/LeaseGrant", LeaseGrant { ttl: 1 })
            .await
            .unwrap();
        let put = Put {
            key: key.into(),
            value: value.into(),
            lease: lease.id,
        };
        let _: Empty = self.call("/etcdserverpb.KV/Put", put).await.unwrap();
    }

    /// Asks as this user from now on.
    ///
    /// # Errors
    ///
    /// The server is not there yet.
    pub async fn log_in(&mut self, name: &str, password: &str) -> Result<(), Status> {
        let who = Authenticate {
            name: name.to_owned(),
            password: password.to_owned(),
        };
        let token: AuthToken = self.call("/etcdserverpb.Auth/Authenticate", who).await?;
        self.token = Some(token.token);
        Ok(())
    }
}

impl Drop for EtcdCluster {
    fn drop(&mut self) {
        for nth in 0..self.members.len() {
            self.kill(nth);
        }
        if !std::thread::panicking() {
            let _ = fs::remove_dir_all(&self.folder);
        }
    }
}
