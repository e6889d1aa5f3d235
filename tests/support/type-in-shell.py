"""Types into a shell on a terminal: `SHELL... -- SET-UP TEXT` runs SET-UP, types TEXT, then puts `echo MARK ` in front of
what stands on the line (Ctrl-A) and runs it; prints what was echoed. Keys are read in order, so nothing has to be waited for."""
import os
import pty
import sys

at = sys.argv.index("--")
shell, (set_up, text) = sys.argv[1:at], sys.argv[at + 1 :]
pid, terminal = pty.fork()
if pid == 0:
    os.environ.update(PS1="READY> ", TERM="dumb", HISTFILE="")
    os.execvp(shell[0], shell)
seen = ""


def wait_for(what):
    global seen
    while what not in seen:
        octets = os.read(terminal, 4096)
        if not octets:
            sys.exit("the shell has ended: " + seen)
        seen += octets.decode(errors="replace").replace("\r", "")
    seen = seen[seen.index(what) + len(what) :]


wait_for("READY> ")
os.write(terminal, (set_up + "; echo SET''UP\n").encode())
wait_for("SETUP\n")
wait_for("READY> ")
os.write(terminal, (text + "\x01echo MA''RK \n").encode())
wait_for("MARK ")
wait_for("")
while "\n" not in seen:
    seen += os.read(terminal, 4096).decode(errors="replace").replace("\r", "")
print(seen[: seen.index("\n")])
os.close(terminal)
