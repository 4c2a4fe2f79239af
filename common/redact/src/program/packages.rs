//! Programs for source control, packages and their registries.
use super::Value::{Account, Header, Named, Token, Whole};
use super::{NONE, Program, attached, onward, operand, rule, under};

#[rustfmt::skip]
pub(super) const TABLE: &[Program] = &[
    Program { names: &["gh"], stdin: &["--with-token"], rules: &[under("secret", "-b", Whole), under("secret", "--body", Whole), rule("-H", Header), rule("--header", Header)], ..NONE },
    Program { names: &["ansible-vault"], operands: &[operand("encrypt_string", 1, Whole)], ..NONE },
    Program { names: &["wg"], rules: &[], ..NONE },
    Program { names: &["svn", "hg"], rules: &[rule("--password", Whole)], ..NONE },
    Program { names: &["jq", "yq", "gojq"], rules: &[rule("--arg", Named), rule("--argjson", Named)], ..NONE },
    Program { names: &["npm", "yarn", "pnpm", "pip", "pip3"], operands: &[operand("set", 1, Named)], ..NONE },
    Program { names: &["git"], operands: &[operand("config", 1, Named)], ..NONE },
    Program { names: &["cargo", "wrangler", "snyk"], operands: &[operand("login", 1, Whole), operand("auth", 1, Token)], ..NONE },
    Program { names: &["twine"], rules: &[rule("-p", Whole)], ..NONE },
    Program { names: &["composer", "poetry", "bundle", "bundler", "conda", "uv", "luarocks", "gem"],
        operands: &[operand("config", 2, Token), operand("config", 3, Token), onward("set", 2, Account)], ..NONE },
    Program { names: &["nuget", "dotnet", "choco", "mono"], operands: &[operand("setapikey", 1, Whole), operand("set", 2, Token)], rules: &[rule("-ApiKey", Whole), under("push", "-k", Whole)], ..NONE },
    Program { names: &["mvn", "gradle", "gradlew", "mvnw", "sonar-scanner", "ant", "sbt"], rules: &[attached("-Dsonar.login", Token), rule("-ep", Whole), rule("-emp", Whole), rule("--encrypt-password", Whole), rule("--encrypt-master-password", Whole)], ..NONE },
];
