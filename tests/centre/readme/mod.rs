//! Every command of the README and of the page about Vault, unchanged, as a new user would run it.
//!
//! The user has an empty home, a clone, sudo and a terminal of 80 columns. The machine consists of namespaces: root
//! inside is root, and all its changes are in overlays. `cargo.sh` and `systemctl.sh` list the replaced parts. The
//! transcript is in `target/readme-transcript.txt`.

mod blocks;
mod desk;

use std::fs;

use vctl_tests::centre::missing;
use vctl_tests::lab::skip;

use blocks::Block;
use desk::{Desk, repository};

/// The password of the user in Vault.
const PASSWORD: &str = "correct-horse";

/// A page, and its headings with the number of blocks below each. An unknown block fails the test, because it may need
/// a preparation.
struct Page {
    path: &'static str,
    known: &'static [(&'static str, usize)],
}

const README: Page = Page {
    path: "README.md",
    known: &[
        ("See it work", 1),
        ("Use it on a host", 3),
        ("Use it for a fleet", 3),
        ("Everyday commands", 3),
        ("Uninstall", 1),
        ("Work on it", 1),
    ],
};

const VAULT: Page = Page {
    path: "deploy/vault/README.md",
    known: &[("Set up", 1), ("People", 2), ("Hosts", 1)],
};

/// The commands of the page about Vault end the access of a user and of a host, so no other command may follow that
/// needs them.
const BEFORE_VAULT: &str = "Uninstall";

/// The beginnings of commands that cannot end with 0 here, each with its status and the reason.
const OTHER_STATUS: &[(&str, i32, &str)] = &[(
    "vctl login --method oidc",
    78,
    "single sign-on needs a provider: the specs of `oidc` have one",
)];

#[test]
fn every_command_of_the_readme_works_as_written() {
    let (blocks, of_vault) = (README.blocks(), VAULT.blocks());
    if let Some(why) = missing().or_else(vctl_tests::lab::missing) {
        return skip(&why);
    }
    let mut reader = Reader {
        desk: Desk::sit_down(),
        problems: Vec::new(),
    };
    for block in &blocks {
        if block.heading == BEFORE_VAULT {
            reader.read_about_vault(&of_vault);
        }
        reader.read(block);
    }
    assert!(
        reader.problems.is_empty(),
        "{}",
        reader.problems.join("\n\n")
    );
}

impl Page {
    fn blocks(&self) -> Vec<Block> {
        let page = fs::read_to_string(repository().join(self.path)).unwrap();
        let blocks = blocks::of(&page);
        let is_unknown = |block: &&Block| {
            let mut known = self.known.iter();
            !known.any(|(heading, blocks)| block.heading == *heading && block.number <= *blocks)
        };
        let unknown: Vec<_> = blocks.iter().filter(is_unknown).collect();
        assert!(
            unknown.is_empty(),
            "say in `known`, and where it needs something in the preparation, how to run {unknown:#?} of {}",
            self.path
        );
        blocks
    }
}

struct Reader {
    desk: Desk,
    problems: Vec<String>,
}

impl Reader {
    fn read(&mut self, block: &Block) {
        self.prepare(block);
        for line in &block.lines {
            self.run(line);
        }
    }

    /// Runs the blocks of the page about Vault with the rights of an administrator, and for real names.
    fn read_about_vault(&mut self, blocks: &[Block]) {
        self.desk.run(". /run/at-hand.sh");
        for block in blocks {
            for line in &block.lines {
                if line.contains("identity/entity/name/") {
                    self.albert_logs_in();
                }
                let line = line
                    .replace("entity/name/NAME", "entity/name/$entity")
                    .replace("-accessor ACCESSOR", "-accessor $accessor")
                    .replace("password=...", &format!("password={PASSWORD}"));
                self.run(&line);
            }
        }
    }

    /// Sets the name of Albert's entity, and the accessor of his token.
    fn albert_logs_in(&mut self) {
        self.desk.run(&format!(
            "accessor=$(vault write -field=token_accessor auth/userpass/login/albert password={PASSWORD}); \
             entity=$(vault read -field=name identity/entity/id/$(\
             vault token lookup -field=entity_id -accessor $accessor))"
        ));
    }

    /// Does the preparation that the text above a block asks for.
    fn prepare(&mut self, block: &Block) {
        match (block.heading.as_str(), block.number) {
            ("Use it on a host", 3) => someone_logs_in(&self.desk, 1002),
            ("Use it for a fleet", 1) => self.have_vault_and_postgres_at_hand(),
            ("Use it for a fleet", 2) => self.have_an_own_key(),
            ("Use it for a fleet", 3) => self.a_host_ships(),
            ("Everyday commands", 1) => self.be_a_person(),
            ("Everyday commands", 2) => self.another_person_logs_in(),
            ("Work on it", 1) => self.end_the_servers(),
            _ => {}
        }
    }

    fn run(&mut self, line: &str) {
        let line = line
            .replace("PG_ADMIN_PASS=...", "PG_ADMIN_PASS=$admin_password")
            .replace("password=...", &format!("password={PASSWORD}"));
        let (status, shown) = if line.contains("--follow") {
            self.desk.run_until(&line, |desk, shown| {
                someone_logs_in(desk, 1003);
                shown.contains("head -n 1 ")
            })
        } else if line.contains("vctl agent --sink") {
            self.desk
                .run_until(&line, |_, shown| shown.lines().count() > 1)
        } else {
            self.desk.run(&line)
        };
        let known = OTHER_STATUS
            .iter()
            .find(|(begin, ..)| line.starts_with(begin));
        let expected = known.map_or(0, |(_, status, _)| *status);
        if status != expected && !line.contains("--follow") && !line.contains("--sink") {
            self.problems
                .push(format!("status {status}, not {expected}: {}", ends(&shown)));
        }
    }

    /// Starts servers without any part of vctl, and sets the settings that the text above names.
    fn have_vault_and_postgres_at_hand(&mut self) {
        self.desk.as_root(
            "$BIN/stack --state /run/at-hand up --bare
             eval \"$($BIN/stack --state /run/at-hand env)\"
             cp \"$VAULT_CACERT\" $WORK/home/newcomer/vctl/ca.pem
             pass=$(cut -d: -f5 $(dirname \"$VAULT_CACERT\")/../postgres/pgpass)
             { $BIN/stack --state /run/at-hand env
               echo export PG_PORT=\"$VCTL_DB_PORT\" VAULT_CLI=bao
               echo admin_password=\"$pass\"; } > /run/at-hand.sh
             chmod 644 /run/at-hand.sh",
        );
        self.desk.run(". /run/at-hand.sh");
    }

    /// Creates the SSH key with which the user may log in to web-1 as root.
    fn have_an_own_key(&self) {
        self.desk.as_root(
            "cd $WORK/home/newcomer; mkdir -p .ssh; chmod 700 .ssh
             [ -f .ssh/id_ed25519 ] || ssh-keygen -q -t ed25519 -N '' -f .ssh/id_ed25519
             chown -R newcomer: .ssh; mkdir -p /root/.ssh ~ubuntu/.ssh
             cat .ssh/id_ed25519.pub | tee /root/.ssh/authorized_keys > ~ubuntu/.ssh/authorized_keys",
        );
    }

    /// Sets web-1 up with the file of `vctl host enroll`, and waits until a session is in the central store.
    fn a_host_ships(&self) {
        self.desk.as_root(
            ". /run/at-hand.sh
             install -D -m 644 $VAULT_CACERT /etc/vctl/vault-ca.pem
             install -D -m 644 $VCTL_DB_CA_CERT /etc/vctl/db-ca.pem
             unset ${!VCTL_@} ${!VAULT_@}
             vctl-agent setup --enroll $WORK/home/newcomer/vctl/web-1.json --yes",
        );
        someone_logs_in(&self.desk, 1004);
        self.desk.as_root(
            ". /run/at-hand.sh
             for _ in $(seq 200); do ! $BIN/vctl session 1004 > /dev/null 2>&1 || exit 0; sleep 0.1; done
             cat /run/collect.log; exit 1",
        );
    }

    /// Creates a user of Vault with all rights.
    fn be_a_person(&mut self) {
        self.desk.as_root(&format!(
            ". /run/at-hand.sh
             bao write auth/userpass/users/newcomer password={PASSWORD} \
                 policies=vctl-user,vctl-ssh,vctl-auditor,vctl-admin,vctl-revoke",
        ));
        self.desk.answer("Password of ", PASSWORD);
        self.desk.run("unset admin_password");
    }

    /// Vault knows a user, so that `vctl revoke` finds it, from the first login on.
    fn another_person_logs_in(&self) {
        self.desk.as_root(&format!(
            ". /run/at-hand.sh
             bao write auth/userpass/login/albert password={PASSWORD}",
        ));
    }

    fn end_the_servers(&mut self) {
        self.desk.as_root("$BIN/stack --state /run/at-hand down");
        self.desk.run("unset ${!VAULT_@} ${!VCTL_@}");
    }
}

/// Returns the command line and the last lines of its output, because a failure must fit into a log of CI.
fn ends(shown: &str) -> String {
    let lines: Vec<_> = shown.lines().map(str::trim_end).collect();
    let last = lines.len().saturating_sub(8).max(1);
    let ends = lines.iter().take(1).chain(lines.iter().skip(last));
    ends.copied().collect::<Vec<_>>().join("\n")
}

/// Logs in with a certificate and runs two commands. 1002 is the one in the README.
fn someone_logs_in(desk: &Desk, serial: u64) {
    desk.as_root(&format!(
        "cd $WORK; [ -f person ] || ssh-keygen -q -t ed25519 -N '' -f person
         ssh-keygen -q -s /etc/ssh/throw_away_ca -I bob -z {serial} -n ubuntu person.pub
         ssh -n -i person -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null \
             ubuntu@127.0.0.1 'head -n 1 /etc/hosts; cat /etc/shadow || true'"
    ));
}
