//! Puts out what a campaign leaves that was ended from outside: a box outlives whoever made it.

use std::path::Path;
use std::process::{Child, Command, Stdio};

/// Waits for the end of the campaign, then for everything that names its folder.
const WATCH: &str = r#"
while kill -0 "$CAMPAIGN" 2>/dev/null; do sleep 1; done
[ -d "$FOLDER" ] || exit 0
for file in "$FOLDER"/*/pid; do
    [ -e "$file" ] && kill -9 "$(cat "$file")" 2>/dev/null
done
sleep 0.5
for process in /proc/[0-9]*; do
    if tr '\0' ' ' <"$process/cmdline" 2>/dev/null | grep -qF -- "$FOLDER/"; then
        kill -9 "${process#/proc/}" 2>/dev/null
    fi
done
iptables -S 2>/dev/null | grep -F -- " gf$CAMPAIGN" | sed 's/^-A/-D/' |
    while read -r rule; do eval "iptables -w $rule"; done
awk -v root="$FOLDER/" 'index($2, root) == 1 { print $2 }' /proc/self/mounts | sort -r |
    while read -r mount; do umount -l "$mount"; done
rm -rf "$FOLDER"
"#;

/// Ends by itself, after the campaign.
pub(super) struct Warden(Child);

impl Warden {
    pub(super) fn start(folder: &Path) -> Self {
        let child = Command::new("setsid")
            .args(["sh", "-c", WATCH])
            .env("CAMPAIGN", std::process::id().to_string())
            .env("FOLDER", folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        Self(child.expect("setsid (util-linux) is needed"))
    }
}

impl Drop for Warden {
    fn drop(&mut self) {
        // Everything was put out in good order.
        let _gone = self.0.kill();
        let _ended = self.0.wait();
    }
}
