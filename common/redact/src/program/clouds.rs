//! Programs of secret stores, clouds and containers.
use super::Value::{After, Bare, Header, Named, Plain, Switch, Token, Whole};
use super::{NONE, Program, onward, operand, rule, under};

#[rustfmt::skip]
pub(super) const TABLE: &[Program] = &[
    Program { names: &["vault", "bao"], stdin: &["-"],
        rules: &[rule("-field", Plain), rule("-token-only", Switch), rule("-header", Header)],
        operands: &[operand("login", 1, Bare), operand("unseal", 1, Whole), operand("unwrap", 1, Whole), onward("put", 2, After(b'=')), onward("patch", 2, After(b'='))], ..NONE },
    Program { names: &["aws"],
        rules: &[rule("--secret-id", Plain), rule("--secret", Plain), rule("--secret-string", Whole), rule("--secret-binary", Whole), rule("--no-sign-request", Switch), under("put-parameter", "--value", Whole), rule("--starting-token", Plain), rule("--next-token", Plain), rule("--client-token", Plain), rule("--continuation-token", Plain)], operands: &[operand("set", 1, Named)], ..NONE },
    Program { names: &["az"], rules: &[under("login", "-p", Whole), under("create", "-p", Plain), under("secret", "--value", Whole), rule("--account-key", Whole), rule("--sas-token", Whole)], ..NONE },
    Program { names: &["gcloud", "gsutil", "bq"], rules: &[rule("--secret", Plain)], ..NONE },
    Program { names: &["docker", "podman", "nerdctl", "buildah", "skopeo", "crane", "oras", "helm"], wraps: true, stdin: &["--password-stdin"],
        rules: &[under("login", "-p", Whole), rule("-p", Plain), rule("--secret", Plain), rule("--user", Plain), rule("-u", Plain), rule("--creds", After(b':')), rule("--src-creds", After(b':')), rule("--dest-creds", After(b':'))], operands: &[operand("create", 2, Plain)], ..NONE },
    Program { names: &["kubectl", "oc", "k3s", "microk8s"], wraps: true,
        rules: &[under("secret", "--from-literal", After(b'=')), under("login", "-p", Whole), rule("-p", Plain)], ..NONE },
    Program { names: &["fly", "flyctl", "heroku", "railway"], operands: &[onward("set", 1, After(b'=')), onward("config:set", 1, After(b'='))], ..NONE },
    Program { names: &["ngrok"], operands: &[operand("authtoken", 1, Whole), operand("add-authtoken", 1, Whole)], ..NONE },
    Program { names: &["doctl"], rules: &[rule("-t", Whole)], ..NONE },
    Program { names: &["mc"], operands: &[operand("set", 3, Whole), operand("set", 4, Whole), operand("add", 4, Whole)], ..NONE },
    Program { names: &["keyctl"], operands: &[operand("add", 3, Whole), operand("update", 2, Whole)], ..NONE },
    Program { names: &["rclone"], operands: &[operand("pass", 1, Whole), operand("password", 1, Whole), operand("client_secret", 1, Whole), operand("secret_access_key", 1, Whole), operand("token", 1, Whole), operand("obscure", 1, Whole)], ..NONE },
    Program { names: &["echo", "printf", "yes"], prints: true, ..NONE },
    Program { names: &["pulumi"], rules: &[rule("--secret", Switch), rule("--plaintext", Switch)], operands: &[operand("set", 2, Token)], ..NONE },
    Program { names: &["cf"], rules: &[under("login", "-p", Whole)], operands: &[operand("auth", 2, Whole)], ..NONE },
    Program { names: &["ibmcloud", "bx"], rules: &[under("login", "-p", Whole)], ..NONE },
    Program { names: &["bw", "rbw", "lpass", "keepassxc-cli"], operands: &[operand("login", 2, Whole), operand("unlock", 1, Whole)], ..NONE },
    Program { names: &["mega-login", "megadl", "megaput", "megals", "mega-passwd"], rules: &[rule("-p", Whole)], operands: &[operand("", 2, Whole)], ..NONE },
    Program { names: &["b2", "backblaze-b2"], operands: &[operand("authorize-account", 2, Whole), operand("authorize", 2, Whole)], ..NONE },
    Program { names: &["gitlab-runner", "gitlab-multi-runner"], rules: &[under("register", "-r", Whole), rule("-t", Whole)], ..NONE },
    Program { names: &["netbird"], rules: &[rule("-k", Whole)], ..NONE },
    Program { names: &["argocd"], rules: &[under("repo", "--password", Whole)], ..NONE },
    Program { names: &["fastboot"], operands: &[operand("unlock", 1, Whole)], ..NONE },
    Program { names: &["aws-vault-export", "akeyless", "infisical", "conjur"], rules: &[under("login", "-p", Whole), under("create-secret", "-v", Whole), under("update-secret-val", "-v", Whole), under("set", "-v", Whole)], ..NONE },
    Program { names: &["swift"], rules: &[rule("-K", Whole)], ..NONE },
    Program { names: &["guestfish", "virt-customize", "virt-sysprep", "virt-builder", "virt-inspector", "virt-cat", "guestmount"],
        rules: &[rule("--key", After(b':')), rule("--root-password", After(b':')), rule("--password", After(b':'))], ..NONE },
];
