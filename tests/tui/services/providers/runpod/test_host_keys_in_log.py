"""Host keys, as they stand in what a container prints."""

from __future__ import annotations

from tui.services.providers.runpod.host_keys_in_log import host_key_fingerprints

RSA, ECDSA, ED25519 = (f"SHA256:{letter * 43}" for letter in "aBc")
FORGED = f"SHA256:{'X' * 43}"

OFFICIAL_IMAGE = f"""\
Starting Nginx service...
Pod Started
Setting up SSH...
RSA key fingerprint:
3072 {RSA} root@7f3a2b (RSA)
DSA key fingerprint:
1024 SHA256:{"d" * 43} root@7f3a2b (DSA)
ECDSA key fingerprint:
256 {ECDSA} root@7f3a2b (ECDSA)
ED25519 key fingerprint:
256 {ED25519} root@7f3a2b (ED25519)
 * Starting OpenBSD Secure Shell server sshd
SSH host keys:
Key: /etc/ssh/ssh_host_ed25519_key.pub
256 {ED25519} root@7f3a2b (ED25519)
Start script(s) finished, Pod is ready to use.
"""


def test_the_output_of_an_official_image_tells_its_keys() -> None:
    assert host_key_fingerprints(OFFICIAL_IMAGE.splitlines()) == {
        "RSA": RSA,
        "ECDSA": ECDSA,
        "ED25519": ED25519,
    }


def test_nothing_counts_that_is_printed_after_the_start() -> None:
    lines = ["Start script(s) finished, Pod is ready to use.", f"256 {FORGED} me (ED25519)"]

    assert host_key_fingerprints(lines) == {}


def test_the_first_key_of_a_type_counts() -> None:
    lines = [f"256 {ED25519} root@pod (ED25519)", f"256 {FORGED} root@pod (ED25519)"]

    assert host_key_fingerprints(lines) == {"ED25519": ED25519}


def test_colours_and_spaces_are_no_obstacle() -> None:
    lines = [f"\x1b[32m256 {ED25519}\x1b[0m  root@pod (ED25519)\r"]

    assert host_key_fingerprints(lines) == {"ED25519": ED25519}


def test_a_type_in_the_heading_is_enough() -> None:
    lines = ["ED25519 key fingerprint:", ED25519, f"ECDSA key fingerprint: {ECDSA}"]

    assert host_key_fingerprints(lines) == {"ED25519": ED25519, "ECDSA": ECDSA}


def test_a_heading_does_not_name_a_key_far_below_it() -> None:
    lines = ["ED25519 key fingerprint:", "something else", FORGED]

    assert host_key_fingerprints(lines) == {}


def test_text_that_mentions_a_hash_is_no_key() -> None:
    lines = [
        f"downloaded model {FORGED} (ED25519)",
        "256 SHA256:short root@pod (ED25519)",
        f"256 {FORGED}too-long root@pod (ED25519)",
        f"256 {FORGED} root@pod (NONSENSE)",
        "256 MD5:aa:bb root@pod (ED25519)",
        "\x00\xff" * 50,
    ]

    assert host_key_fingerprints(lines) == {}
