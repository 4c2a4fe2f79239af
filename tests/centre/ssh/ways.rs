//! A connection is direct or goes through any number of jump hosts. Each hop has a certificate of its own.

use vctl_tests::centre::Island;

use super::{Operator, shared};

#[test]
fn chains_of_two_and_three_hops_have_a_certificate_for_each() {
    let Some(centre) = shared() else { return };
    let operator = Operator::new(centre, "ssh-chain");
    let hosts = ["chain-a", "chain-b", "chain-c"].map(|name| centre.another_host(name).unwrap());
    let [a, b, c] = &hosts;
    for (name, host) in [("chain-a", a), ("chain-b", b), ("chain-c", c)] {
        operator.knows(name, host);
    }
    operator.jumps("chain-b", "chain-a");
    operator.jumps("chain-c", "chain-b");
    for (target, via) in [
        ("chain-b", &["chain-a"][..]),
        ("chain-c", &["chain-a", "chain-b"]),
    ] {
        let output = operator
            .command(&[target, "--", "echo $SSH_CONNECTION; exit 9"])
            .env("VCTL_SSH_DIRECT_FIRST", "false")
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(9), "{output:?}");
        let rows = operator.accesses(target);
        assert_eq!(rows.len(), 1, "{rows:?}");
        let row = &rows[0];
        assert_eq!(row["jump_via"], serde_json::json!(via));
        assert_eq!(
            (&row["result"], &row["exit_code"]),
            (&"ok".into(), &9.into())
        );
        // Only the first connection has an address of this machine as its source.
        assert_eq!(row["source_ip"], "127.0.0.1");
        let hops = row["hops"].as_array().unwrap();
        assert_eq!(hops.len(), via.len());
        let mut serials = vec![row["cert_serial"].to_string()];
        for (hop, (name, host)) in hops.iter().zip([("chain-a", a), ("chain-b", b)]) {
            assert_eq!(hop["hostname"], name);
            let serial = hop["cert_serial"].to_string();
            assert!(host.log().contains(&format!("(serial {serial})")), "{name}");
            serials.push(serial);
        }
        let count = serials.len();
        serials.sort();
        serials.dedup();
        assert_eq!(serials.len(), count, "a certificate was used twice");
    }
}

#[test]
fn an_unreachable_host_is_reached_through_its_jump_host() {
    let Some(centre) = shared() else { return };
    let operator = Operator::new(centre, "ssh-fallback");
    let island = Island::new().unwrap();
    let target = centre.another_host_on(&island, "fall-t").unwrap();
    let jump = centre.another_host_on(&island, "fall-j").unwrap();
    operator.knows("fall-1", &target);
    operator.inventory(
        "fall-jump",
        "127.0.0.1",
        island.door(jump.port()).unwrap(),
        jump.user(),
    );
    operator.remembers(&format!("fall-jump {}\n", jump.public_key()));
    // Without the jump host, this host is not reachable, and the row says so.
    let said = operator.ssh(&["fall-1", "--", "true"]);
    assert_eq!(said.code, 255, "{said:?}");
    let rows = operator.accesses("fall-1");
    assert_eq!((rows.len(), &rows[0]["result"]), (1, &"failed".into()));
    operator.jumps("fall-1", "fall-jump");
    let said = operator.ssh(&["fall-1", "--", "echo there"]);
    assert_eq!((said.code, &*said.stdout), (0, "there\n"), "{said:?}");
    let rows = operator.accesses("fall-1");
    assert_eq!(rows.len(), 2, "{rows:?}");
    assert_eq!(rows[1]["jump_via"], serde_json::json!(["fall-jump"]));
    // Both routes fail, and the message has both reasons.
    drop(island);
    operator.inventory("fall-2", "127.0.0.1", 1, "root");
    operator.inventory("fall-3", "127.0.0.1", 1, "root");
    operator.jumps("fall-2", "fall-3");
    let said = operator.ssh(&["fall-2", "--", "true"]);
    assert_eq!(said.code, 255);
    for what in [
        "neither directly nor through",
        "`fall-2` at 127.0.0.1:1",
        "`fall-3` at 127.0.0.1:1",
    ] {
        assert!(said.stderr.contains(what), "{}", said.stderr);
    }
}

#[test]
fn a_word_that_could_mean_several_hosts_means_none() {
    let Some(centre) = shared() else { return };
    let operator = Operator::new(centre, "ssh-words");
    let host = centre.host.as_ref().unwrap();
    operator.knows("words-one", host);
    operator.knows("words-two", host);
    let said = operator.ssh(&["words-", "--", "true"]);
    assert_eq!(said.code, 66);
    assert!(
        said.stderr.contains("`words-one`, `words-two`"),
        "{}",
        said.stderr
    );
    // On a terminal, the user chooses.
    let mut terminal = operator.before_a_person(&["words-", "--", "echo cho''sen"]);
    terminal.wait_for("words-two").unwrap();
    terminal.type_in("two\r").unwrap();
    assert_eq!(
        terminal.end().unwrap().code(),
        Some(0),
        "{}",
        terminal.shown()
    );
    assert!(terminal.shown().contains("chosen"), "{}", terminal.shown());
    assert_eq!(operator.accesses("words-two").len(), 1);
    // A part of one name needs a terminal, and a confirmation before a command runs there.
    let said = operator.ssh(&["words-o", "--", "true"]);
    assert_eq!(said.code, 66, "{said:?}");
    assert!(said.stderr.contains("`words-one`"), "{said:?}");
    for (answer, code) in [("n\r", 66), ("y\r", 0)] {
        let mut terminal = operator.before_a_person(&["words-o", "--", "echo cho''sen"]);
        terminal
            .wait_for("Run the command on `words-one`?")
            .unwrap();
        terminal.type_in(answer).unwrap();
        let ended = terminal.end().unwrap().code();
        let shown = terminal.shown();
        assert_eq!(ended, Some(code), "{shown}");
        assert_eq!(shown.contains("chosen"), code == 0, "{shown}");
    }
    // In a name, `%` and `_` are ordinary characters.
    assert_eq!(operator.ssh(&["words_one", "--", "true"]).code, 66);
    // With `--server`, a part of a name does not match. The error names the host that contains this part.
    let said = operator.ssh(&["--server", "words-o", "--", "true"]);
    assert_eq!(said.code, 66);
    assert!(said.stderr.contains("`words-one`"), "{}", said.stderr);
    assert_eq!(
        operator.ssh(&["--server", "words-one", "--", "true"]).code,
        0
    );
    // A second word is the remote command.
    assert_eq!(
        operator.ssh(&["--server", "words-one", "words-two"]).code,
        127
    );
    assert_eq!(operator.ssh(&["root@nowhere"]).code, 66);
    // This login goes to an address, without the inventory.
    let at = format!("{}@127.0.0.1:{}", host.user(), host.port());
    operator.remembers(&format!(
        "[127.0.0.1]:{} {}\n",
        host.port(),
        host.public_key()
    ));
    assert_eq!(operator.ssh(&[&at, "--", "true"]).code, 0);
}
