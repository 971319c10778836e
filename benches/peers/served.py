"""A `thinktune serve` for the time of a `with` block."""

import subprocess


class Served:
    def __init__(self, program, model, *options):
        self.command = [program, "serve", model, "--port", "0", "--name", "served", *options]

    def __enter__(self):
        self.process = subprocess.Popen(self.command, stdout=subprocess.PIPE, text=True)
        line = self.process.stdout.readline()
        if " at " not in line:
            raise SystemExit(f"{' '.join(self.command)} did not start: {line!r}")
        self.url = line.split(" at ")[1].strip()
        return self

    def __exit__(self, *_):
        self.process.terminate()
        code = self.process.wait(timeout=60)
        assert code == 0, f"thinktune serve ended with {code}"
