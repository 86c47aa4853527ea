//! Access to the API server: where the credentials are, and a client with them.

use std::{
    env, fs,
    net::IpAddr,
    path::{Path, PathBuf},
};

use http::HeaderValue;
use tokio::task::spawn_blocking;

use super::{
    credentials::{ApiCredentials, ApiToken},
    kubeconfig::read_kubeconfig,
    plugin::CredentialPlugin,
};
use crate::{error::BoxError, upstream::Client};

/// Where a pod has the token of its service account.
const ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// Where the API server and the credentials are looked for.
#[derive(Clone, Debug)]
pub(super) enum AccessSettings {
    /// In `$KUBECONFIG`; in a pod, in its files; in `~/.kube/config`.
    Anywhere,
    /// In a file, of which `None` stands for the current context.
    Kubeconfig(PathBuf, Option<String>),
    /// At a URL that needs no credentials.
    Open(String),
}

/// A client of the API server, and what it sends along.
pub(super) struct ApiAccess {
    pub(super) client: Client,
    token: Option<ApiToken>,
}

impl AccessSettings {
    /// Reads the credentials and makes a client with them.
    ///
    /// # Errors
    ///
    /// They cannot be read or used.
    pub(super) async fn open(&self) -> Result<ApiAccess, BoxError> {
        let settings = self.clone();
        let (mut credentials, plugin) = spawn_blocking(move || settings.read()).await??;
        if let Some(plugin) = plugin {
            plugin.run(&mut credentials).await?;
        }
        let token = credentials.token.take();
        let client = spawn_blocking(move || credentials.client()).await??;
        Ok(ApiAccess { client, token })
    }

    /// Reads the credentials. Blocks.
    fn read(&self) -> Result<(ApiCredentials, Option<CredentialPlugin>), BoxError> {
        let variable = |name| env::var(name).ok().filter(|value| !value.is_empty());
        match self {
            Self::Open(url) => {
                let server = url.clone();
                let token = None;
                Ok((
                    ApiCredentials {
                        server,
                        token,
                        ..ApiCredentials::default()
                    },
                    None,
                ))
            }
            Self::Kubeconfig(path, context) => read_kubeconfig(path, context.as_deref()),
            Self::Anywhere => {
                if let Some(paths) = env::var_os("KUBECONFIG").filter(|paths| !paths.is_empty()) {
                    let paths: Vec<_> = env::split_paths(&paths).collect();
                    let path = paths.iter().find(|path| path.exists()).or(paths.first());
                    return read_kubeconfig(path.map_or(Path::new(""), PathBuf::as_path), None);
                }
                if let Some(host) = variable("KUBERNETES_SERVICE_HOST") {
                    let port = variable("KUBERNETES_SERVICE_PORT");
                    return Ok((
                        in_cluster(&host, port.as_deref(), Path::new(ACCOUNT))?,
                        None,
                    ));
                }
                let Some(home) = variable("HOME") else {
                    return Err("this is no pod, and there is neither $KUBECONFIG nor $HOME".into());
                };
                read_kubeconfig(&Path::new(&home).join(".kube/config"), None)
            }
        }
    }
}

/// Returns the credentials of a pod, whose service account is in `folder`.
fn in_cluster(host: &str, port: Option<&str>, folder: &Path) -> Result<ApiCredentials, BoxError> {
    let host = match host.parse() {
        Ok(IpAddr::V6(ip)) => format!("[{ip}]"),
        _ => host.to_owned(),
    };
    let authority = folder.join("ca.crt");
    let read = fs::read(&authority);
    let read = read.map_err(|error| format!("cannot read {}: {error}", authority.display()))?;
    Ok(ApiCredentials {
        server: format!("https://{host}:{}", port.unwrap_or("443")),
        authority: Some(read),
        token: Some(ApiToken::File(folder.join("token"))),
        ..ApiCredentials::default()
    })
}

impl ApiAccess {
    /// Returns what to send as `Authorization`. A file is read anew each time: kubelet replaces it before its token
    /// expires.
    ///
    /// # Errors
    ///
    /// The file cannot be read, or has no token.
    pub(super) async fn authorization(&self) -> Result<Option<HeaderValue>, BoxError> {
        let token = match &self.token {
            None => return Ok(None),
            Some(ApiToken::Fixed(token)) => token.clone(),
            Some(ApiToken::File(path)) => {
                let (path, shown) = (path.clone(), path.display());
                let read = spawn_blocking(move || fs::read_to_string(path)).await?;
                read.map_err(|error| format!("cannot read {shown}: {error}"))?
            }
        };
        // The error has no part of the token.
        let value = HeaderValue::try_from(format!("Bearer {}", token.trim()));
        let mut value = value.map_err(|_| "the token is not valid")?;
        value.set_sensitive(true);
        Ok(Some(value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_pod_has_files_and_variables() {
        let folder = env::temp_dir().join(format!("serviceaccount-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let missing = in_cluster("10.0.0.1", None, &folder).err().unwrap();
        assert!(missing.to_string().contains("ca.crt"), "{missing}");
        fs::write(folder.join("ca.crt"), "CA").unwrap();
        for (host, port, server) in [
            ("10.0.0.1", Some("6443"), "https://10.0.0.1:6443"),
            ("fd00::1", None, "https://[fd00::1]:443"),
            ("api.internal", Some("443"), "https://api.internal:443"),
        ] {
            let credentials = in_cluster(host, port, &folder).unwrap();
            assert_eq!(credentials.server, server);
            assert_eq!(credentials.authority.as_deref(), Some(&b"CA"[..]));
        }
        let access = ApiAccess {
            client: Client::new("http://127.0.0.1").unwrap(),
            token: in_cluster("10.0.0.1", None, &folder).unwrap().token,
        };
        assert!(access.authorization().await.is_err());
        for token in ["first\n", "second"] {
            fs::write(folder.join("token"), token).unwrap();
            let value = access.authorization().await.unwrap().unwrap();
            assert_eq!(value, format!("Bearer {}", token.trim()));
            assert!(value.is_sensitive());
        }
        fs::remove_dir_all(&folder).unwrap();
    }
}
