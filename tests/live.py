"""live.py: runs a command on a terminal of its own and prints what is drawn there, every redraw on a line.

    tests/live.py COLUMNS COMMAND ARGUMENTS...
"""
import fcntl
import os
import pty
import re
import struct
import sys
import termios

pid, fd = pty.fork()
if not pid:
    os.environ["TERM"] = "xterm"
    os.execvp(sys.argv[2], sys.argv[2:])
fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", 24, int(sys.argv[1]), 0, 0))
drawn = b""
while True:
    try:
        some = os.read(fd, 4096)
    except OSError:                                   # the other end is closed
        break
    if not some:
        break
    drawn += some
for line in re.split("[\r\n]+", re.sub("\x1b\\[[0-9;]*[A-Za-z]", "", drawn.decode(errors="replace"))):
    if line:
        print(line)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
