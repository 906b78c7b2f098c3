"""suite.py: what coverage.py and mutants.py share: the tests by name and running one of them, as run.sh
does."""
import glob
import os
import resource
import signal
import subprocess
import time

NEEDS_MORE = {"races"}                            # Oclgrind


def names(root="."):
    """Of all tests; a script with the name of a binary is called NAME.sh."""
    binaries, scripts = ({os.path.basename(p)[len("test_"):].split(".")[0]
                          for p in glob.glob(os.path.join(root, f"tests/test_*.{suffix}"))}
                         for suffix in ("c", "sh"))
    return sorted(binaries | {n + ".sh" if n in binaries else n for n in scripts})


def is_script(name, root="."):
    return not os.path.exists(os.path.join(root, f"tests/test_{name}.c"))


def source(name):
    return f"tests/test_{name.removesuffix('.sh')}.sh" if is_script(name) else f"tests/test_{name}.c"


def target(name, build, root="."):
    """What make must have built before the test can run."""
    if is_script(name, root):
        return [f"{build}/jetcl"]
    with open(os.path.join(root, f"tests/test_{name}.c")) as f:
        program = "TEST_BUILD" in f.read()
    return [f"{build}/tests/test_{name}"] + ([f"{build}/jetcl"] if program else [])


def environment(build, root, **more):
    env = dict(os.environ, TEST_BUILD=build, JETCL_CACHE_DIR=f"{build}/cache", **more)
    env.setdefault("POCL_CACHE_DIR", os.path.abspath(os.path.join(root, build, "pocl-cache")))
    os.makedirs(env["POCL_CACHE_DIR"], exist_ok=True)
    return env


def run(name, build, env, root=".", cpu=600, wall=1800):
    """(passed, seconds of processor time, last lines). cpu, wall: seconds; more of them counts as failed."""
    command = ["sh", source(name)] if is_script(name, root) else [f"{build}/tests/test_{name}"]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    p = subprocess.Popen(command, cwd=root, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                         stderr=subprocess.STDOUT, start_new_session=True,
                         preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CPU, (int(cpu), int(cpu) + 1)))
    try:
        out = p.communicate(timeout=wall)[0].decode(errors="replace")
    except subprocess.TimeoutExpired:
        os.killpg(p.pid, signal.SIGKILL)
        out = p.communicate()[0].decode(errors="replace")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    lines = out.splitlines()
    ok = p.returncode == 0 and not any(x.startswith("not ok") for x in lines)
    return ok, seconds, [x for x in lines if "FAILED" in x or x.startswith(("not ok", "ERROR"))][:3]
