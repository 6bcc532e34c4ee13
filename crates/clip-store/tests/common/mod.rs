//! A separate `mongod` for each test.

use clip_store::ClipStore;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use std::{
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

/// How long a server may take to answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// A private server; it ends with the test.
pub struct Mongod {
    process: Child,
    port: u16,
    pub data: tempfile::TempDir,
}

impl Mongod {
    pub fn start() -> Self {
        Self::start_with(|_| Vec::new())
    }

    /// A TLS-only server with a certificate of a private CA: [`ca_file`](Self::ca_file).
    pub fn start_with_tls() -> Self {
        Self::start_with(|folder| {
            let authority = authority();
            fs::write(folder.join("ca.pem"), authority.pem()).expect("a file");
            let key = KeyPair::generate().expect("a key");
            let server = CertificateParams::new(["127.0.0.1".to_owned()]).expect("a name");
            let certificate = server.signed_by(&key, &authority).expect("a certificate");
            let file = folder.join("server.pem");
            fs::write(&file, certificate.pem() + &key.serialize_pem()).expect("a file");
            let file = file.to_str().expect("UTF-8").to_owned();
            let options = ["--tlsMode", "requireTLS", "--tlsCertificateKeyFile", &file];
            options.map(str::to_owned).to_vec()
        })
    }

    pub fn ca_file(&self) -> PathBuf {
        self.data.path().join("ca.pem")
    }

    fn start_with(options: impl Fn(&Path) -> Vec<String>) -> Self {
        let program = std::env::var("CLIPFLOW_TEST_MONGOD")
            .expect("CLIPFLOW_TEST_MONGOD names a mongod; `make unit` sets it");
        let data = tempfile::tempdir().expect("a folder");
        let free = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = free.local_addr().expect("an address").port();
        drop(free);
        let process = Command::new(program)
            .args([
                "--bind_ip",
                "127.0.0.1",
                "--nounixsocket",
                "--wiredTigerCacheSizeGB",
                "0.25",
            ])
            .args(["--port", &port.to_string()])
            .args(options(data.path()))
            .arg("--dbpath")
            .arg(data.path())
            .stdout(Stdio::null())
            .spawn()
            .expect("mongod starts");
        Self {
            process,
            port,
            data,
        }
    }

    pub fn uri(&self) -> String {
        let port = self.port;
        format!("mongodb://127.0.0.1:{port}/?serverSelectionTimeoutMS=500")
    }

    /// The records of a server, once it answers.
    pub async fn records(&self) -> ClipStore {
        self.records_by(&self.uri(), None).await
    }

    pub async fn records_by(&self, uri: &str, ca_file: Option<&Path>) -> ClipStore {
        let begun = Instant::now();
        loop {
            let records = ClipStore::connect(uri, "clipflow", ca_file)
                .await
                .expect("the URI can be used");
            match records.ensure_indexes().await {
                Ok(()) => return records,
                Err(error) => assert!(begun.elapsed() < PATIENCE, "{error}"),
            }
        }
    }
}

/// A private CA.
pub fn authority() -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().expect("a key");
    CertifiedIssuer::self_signed(params, key).expect("a CA")
}

impl Drop for Mongod {
    fn drop(&mut self) {
        self.process
            .kill()
            .and_then(|()| self.process.wait())
            .expect("mongod ends");
    }
}
