//! Credentials from a kubeconfig, which is YAML.
//!
//! What is not supported is an error that names it: to go without would be to ask in another way than was meant.

use std::{fs, path::Path};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::Deserialize;
use serde_json::Value;
use yaml_rust2::{Yaml, YamlLoader};

use super::{
    credentials::{ApiCredentials, ApiToken},
    plugin::CredentialPlugin,
};
use crate::error::BoxError;

/// A kubeconfig, as far as it is read.
#[derive(Deserialize)]
struct Kubeconfig {
    #[serde(rename = "current-context")]
    current_context: Option<String>,
    clusters: Option<Vec<NamedCluster>>,
    contexts: Option<Vec<NamedContext>>,
    users: Option<Vec<NamedUser>>,
}

#[derive(Deserialize)]
struct NamedCluster {
    name: String,
    cluster: KubeCluster,
}

#[derive(Deserialize)]
struct NamedContext {
    name: String,
    context: KubeContext,
}

#[derive(Deserialize)]
struct NamedUser {
    name: String,
    user: Option<KubeUser>,
}

#[derive(Deserialize)]
struct KubeContext {
    cluster: String,
    user: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct KubeCluster {
    server: String,
    certificate_authority: Option<String>,
    certificate_authority_data: Option<String>,
    tls_server_name: Option<String>,
    #[serde(default)]
    insecure_skip_tls_verify: bool,
    proxy_url: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct KubeUser {
    client_certificate: Option<String>,
    client_certificate_data: Option<String>,
    client_key: Option<String>,
    client_key_data: Option<String>,
    token: Option<String>,
    #[serde(rename = "tokenFile")]
    token_file: Option<String>,
    username: Option<String>,
    auth_provider: Option<Value>,
    exec: Option<CredentialPlugin>,
}

/// Reads the credentials of a context, or of the current one, from a file. Blocks. Some come from a plugin, which has
/// to be run.
///
/// # Errors
///
/// It cannot be read or used, or has no such context. The error names the file.
pub(super) fn read_kubeconfig(
    path: &Path,
    context: Option<&str>,
) -> Result<(ApiCredentials, Option<CredentialPlugin>), BoxError> {
    let read = fs::read_to_string(path).map_err(Into::into);
    let folder = path.parent().unwrap_or(Path::new(""));
    let read = read.and_then(|text: String| credentials(&text, folder, context));
    read.map_err(|error| format!("kubeconfig {}: {error}", path.display()).into())
}

/// Reads the credentials of a context. Paths in it are relative to `folder`.
fn credentials(
    text: &str,
    folder: &Path,
    context: Option<&str>,
) -> Result<(ApiCredentials, Option<CredentialPlugin>), BoxError> {
    let documents = YamlLoader::load_from_str(text)?;
    let document = documents.into_iter().next().unwrap_or(Yaml::Null);
    let config: Kubeconfig = serde_json::from_value(as_json(document))?;
    let context = context.map(str::to_owned).or(config.current_context);
    let context = context.ok_or("it has no current-context")?;
    let found = config
        .contexts
        .into_iter()
        .flatten()
        .find(|named| named.name == context);
    let chosen = found
        .ok_or_else(|| format!("it has no context {context:?}"))?
        .context;
    let found = config
        .clusters
        .into_iter()
        .flatten()
        .find(|named| named.name == chosen.cluster);
    let cluster = found
        .ok_or_else(|| format!("it has no cluster {:?}", chosen.cluster))?
        .cluster;
    let user = match &chosen.user {
        Some(name) => {
            let found = config
                .users
                .into_iter()
                .flatten()
                .find(|named| named.name == *name);
            found
                .ok_or_else(|| format!("it has no user {name:?}"))?
                .user
                .unwrap_or_default()
        }
        None => KubeUser::default(),
    };
    for (setting, is_set) in [
        ("insecure-skip-tls-verify", cluster.insecure_skip_tls_verify),
        ("proxy-url", cluster.proxy_url.is_some()),
        ("username", user.username.is_some()),
        ("auth-provider", user.auth_provider.is_some()),
    ] {
        if is_set {
            return Err(format!("{setting} is not supported").into());
        }
    }
    let pem = |data: Option<String>, file: Option<String>, setting: &str| match (data, file) {
        (Some(data), _) => {
            let decoded = STANDARD.decode(data.trim());
            decoded
                .map(Some)
                .map_err(|error| format!("{setting}-data is not valid: {error}"))
        }
        (None, Some(file)) => {
            let read = fs::read(folder.join(&file)).map(Some);
            read.map_err(|error| format!("{setting} {file}: {error}"))
        }
        (None, None) => Ok(None),
    };
    let token_file = user
        .token_file
        .map(|file| ApiToken::File(folder.join(file)));
    let credentials = ApiCredentials {
        server: cluster.server,
        server_name: cluster.tls_server_name.filter(|name| !name.is_empty()),
        authority: pem(
            cluster.certificate_authority_data,
            cluster.certificate_authority,
            "certificate-authority",
        )?,
        certificate: pem(
            user.client_certificate_data,
            user.client_certificate,
            "client-certificate",
        )?,
        key: pem(user.client_key_data, user.client_key, "client-key")?,
        // "TokenFile … takes precedence over Token."
        token: token_file.or(user.token.map(ApiToken::Fixed)),
    };
    let plugin = user.exec.map(|plugin| plugin.relative_to(folder));
    Ok((credentials, plugin))
}

/// Turns YAML into JSON. Numbers become text, since none are read and a token may look like one. What JSON has no
/// counterpart for becomes `null`.
fn as_json(yaml: Yaml) -> Value {
    match yaml {
        Yaml::String(text) | Yaml::Real(text) => Value::String(text),
        Yaml::Integer(number) => number.to_string().into(),
        Yaml::Boolean(is_true) => is_true.into(),
        Yaml::Array(items) => items.into_iter().map(as_json).collect(),
        Yaml::Hash(items) => {
            let item = |(key, value): (Yaml, Yaml)| Some((key.into_string()?, as_json(value)));
            items.into_iter().filter_map(item).collect()
        }
        Yaml::Alias(_) | Yaml::Null | Yaml::BadValue => Value::Null,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As `kubectl config view` shows it, with two contexts.
    const CONFIG: &str = r#"
apiVersion: v1
kind: Config
preferences: {}
current-context: dev
clusters:
- cluster:
    certificate-authority-data: Q0E=
    server: https://10.0.0.1:6443
    tls-server-name: kubernetes
  name: dev-cluster
- cluster: {server: "https://b.example/base", certificate-authority: missing.pem}
  name: other
contexts:
- context:
    cluster: dev-cluster
    namespace: web
    user: me
  name: dev
- context: {cluster: other, user: me}
  name: other
- context: {cluster: dev-cluster, user: plugged}
  name: plugged
- context: {cluster: dev-cluster, user: nobody}
  name: lost
- context: {cluster: dev-cluster, user: basic}
  name: basic
users:
- name: me
  user:
    client-certificate-data: Q0VSVA==
    client-key-data: S0VZ
    token: 12345
- name: basic
  user: {username: me, password: secret}
- name: plugged
  user:
    exec:
      apiVersion: client.authentication.k8s.io/v1
      command: ./bin/get-token
      args: [--cluster, dev]
      env:
      - {name: REGION, value: eu}
      interactiveMode: Never
"#;

    #[test]
    fn the_current_context_counts() {
        let (read, plugin) = credentials(CONFIG, Path::new("/etc"), None).unwrap();
        assert_eq!(read.server, "https://10.0.0.1:6443");
        assert_eq!(read.server_name.as_deref(), Some("kubernetes"));
        let pem = [&read.authority, &read.certificate, &read.key].map(|pem| pem.as_deref());
        assert_eq!(pem, [Some(&b"CA"[..]), Some(b"CERT"), Some(b"KEY")]);
        assert!(matches!(read.token, Some(ApiToken::Fixed(token)) if token == "12345"));
        assert!(plugin.is_none());
    }

    #[test]
    fn a_plugin_is_to_be_run() {
        let read = credentials(CONFIG, Path::new("/etc"), Some("plugged"));
        let plugin = format!("{:?}", read.unwrap().1.unwrap());
        assert!(plugin.contains("/etc/./bin/get-token"), "{plugin}");
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, context, expected) in [
            (CONFIG, Some("nope"), "no context \"nope\""),
            (CONFIG, Some("other"), "certificate-authority missing.pem"),
            (CONFIG, Some("lost"), "no user \"nobody\""),
            (CONFIG, Some("basic"), "username is not supported"),
            ("", None, "invalid type"),
            ("{}", None, "current-context"),
            ("a: [", None, "line"),
            (
                "current-context: a\nclusters: [{name: c, cluster: {server: 's', insecure-skip-tls-verify: true}}]\n\
                 contexts: [{name: a, context: {cluster: c}}]",
                None,
                "insecure-skip-tls-verify is not supported",
            ),
            (
                "current-context: a\nclusters: [{name: c, cluster: {server: 's', certificate-authority-data: '!'}}]\n\
                 contexts: [{name: a, context: {cluster: c}}]",
                None,
                "certificate-authority-data is not valid",
            ),
        ] {
            let error = credentials(text, Path::new("/nowhere"), context);
            let error = error.err().unwrap().to_string();
            assert!(error.contains(expected), "{error}");
        }
        let error = read_kubeconfig(Path::new("/nowhere/config"), None)
            .err()
            .unwrap();
        assert!(
            error
                .to_string()
                .starts_with("kubeconfig /nowhere/config: "),
            "{error}"
        );
    }
}
