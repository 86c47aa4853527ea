//! Programs that a kubeconfig names as the source of credentials, as clusters of clouds have them
//! (`client.authentication.k8s.io`).

use std::{
    path::{MAIN_SEPARATOR, Path},
    process::Stdio,
    time::Duration,
};

use serde::Deserialize;
use serde_json::json;
use tokio::{process::Command, time::timeout};

use super::credentials::{ApiCredentials, ApiToken};
use crate::error::BoxError;

/// How long a plugin may take. It may have to ask a cloud.
const TIMEOUT: Duration = Duration::from_secs(30);

/// How many characters of what a plugin says on its standard error are in the error.
const SHOWN: usize = 300;

/// A program that prints credentials.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct CredentialPlugin {
    api_version: String,
    command: String,
    args: Option<Vec<String>>,
    env: Option<Vec<PluginVariable>>,
}

#[derive(Debug, Deserialize)]
struct PluginVariable {
    name: String,
    value: String,
}

/// What it prints.
#[derive(Deserialize)]
struct PrintedCredential {
    status: Option<CredentialStatus>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CredentialStatus {
    token: Option<String>,
    client_certificate_data: Option<String>,
    client_key_data: Option<String>,
}

impl CredentialPlugin {
    /// Looks for the program in `folder`, if it is named by a path.
    pub(super) fn relative_to(mut self, folder: &Path) -> Self {
        if self.command.contains(MAIN_SEPARATOR) {
            self.command = folder.join(&self.command).display().to_string();
        }
        self
    }

    /// Runs the program, and adds what it prints to `credentials`.
    ///
    /// # Errors
    ///
    /// It cannot be run, fails, takes too long, or prints something else.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future kills the program.
    pub(super) async fn run(&self, credentials: &mut ApiCredentials) -> Result<(), BoxError> {
        let Self {
            api_version,
            command,
            args,
            env,
        } = self;
        let info = json!({
            "apiVersion": api_version,
            "kind": "ExecCredential",
            "spec": { "interactive": false },
        });
        let variables = env.iter().flatten();
        let output = Command::new(command)
            .args(args.iter().flatten())
            .envs(variables.map(|variable| (&variable.name, &variable.value)))
            .env("KUBERNETES_EXEC_INFO", info.to_string())
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output();
        let fail = |why: String| BoxError::from(format!("the plugin {command} {why}"));
        let output = match timeout(TIMEOUT, output).await {
            Ok(output) => output.map_err(|error| fail(format!("cannot be run: {error}")))?,
            Err(_) => return Err(fail(format!("took longer than {TIMEOUT:?}"))),
        };
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            let said: String = said.trim().chars().take(SHOWN).collect();
            return Err(fail(format!("failed with {}: {said}", output.status)));
        }
        let printed = serde_json::from_slice(&output.stdout);
        let PrintedCredential { status } =
            printed.map_err(|error| fail(format!("printed no ExecCredential: {error}")))?;
        let status = status.ok_or_else(|| fail("printed no credentials".to_owned()))?;
        let CredentialStatus {
            token,
            client_certificate_data,
            client_key_data,
        } = status;
        credentials.token = token.map(ApiToken::Fixed);
        // In PEM as it is, and not in base64.
        credentials.certificate = client_certificate_data.map(String::into_bytes);
        credentials.key = client_key_data.map(String::into_bytes);
        Ok(())
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    /// Runs a plugin that is a line of shell.
    async fn run(script: &str) -> Result<ApiCredentials, String> {
        let plugin = CredentialPlugin {
            api_version: "client.authentication.k8s.io/v1".to_owned(),
            command: "sh".to_owned(),
            args: Some(vec!["-c".to_owned(), script.to_owned()]),
            env: Some(vec![PluginVariable {
                name: "TOKEN".to_owned(),
                value: "abc".to_owned(),
            }]),
        };
        let mut credentials = ApiCredentials::default();
        let run = plugin.run(&mut credentials).await;
        run.map(|()| credentials).map_err(|error| error.to_string())
    }

    #[tokio::test]
    async fn what_a_plugin_prints_is_taken() {
        let script = r#"case "$KUBERNETES_EXEC_INFO" in *'"interactive":false'*) ;; *) exit 1 ;; esac
            printf '{"status": {"token": "%s", "clientKeyData": "K"}}' "$TOKEN""#;
        let credentials = run(script).await.unwrap();
        assert!(matches!(credentials.token, Some(ApiToken::Fixed(token)) if token == "abc"));
        assert_eq!(credentials.key.as_deref(), Some(&b"K"[..]));
    }

    #[tokio::test]
    async fn what_goes_wrong_is_said() {
        for (script, expected) in [
            (
                "echo 'log in first' >&2; exit 3",
                "exit status: 3: log in first",
            ),
            ("echo hello", "printed no ExecCredential"),
            ("echo '{}'", "printed no credentials"),
        ] {
            let error = run(script).await.err().unwrap();
            assert!(error.contains(expected), "{error}");
        }
    }
}
