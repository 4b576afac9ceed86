"""What of the Python SDK the conformance list does not show. Run by python.test.mjs with BERM_URL."""

import asyncio
import io
import os
import pickle
import socket
import tarfile
import threading
import unittest

import berm


class Names(unittest.TestCase):
    def test_names_are_checked_and_written_as_the_daemon_takes_them(self):
        self.assertEqual([berm.sandbox_id(name) for name in ("demo", "my-sandbox", "größe")], ["demo", "nv4s243bnzsge33y", "m5zmhnwdt5sq"])
        for name, code in {"": "LENGTH", "x" * 64: "LENGTH", "-a": "HYPHENS", "a-": "HYPHENS", "Admin": "RESERVED", "ö" * 50: "LENGTH"}.items():
            with self.assertRaises(berm.SandboxSecurityError) as caught:
                berm.get_sandbox(name)
            self.assertIn(code, caught.exception.code)
        with self.assertRaises(ValueError):
            berm.Berm("ftp://x")


def answering(*answers):
    """The URL of a server that gives each connection in turn these bytes, and the requests it got."""
    listener = socket.create_server(("127.0.0.1", 0))
    requests = []

    def serve():
        for answer in answers:
            connection, _ = listener.accept()
            with connection:
                requests.append(connection.recv(65536))
                connection.sendall(answer)
        listener.close()

    threading.Thread(target=serve, daemon=True).start()
    return f"http://127.0.0.1:{listener.getsockname()[1]}", requests


class Http(unittest.TestCase):
    def ask(self, answer):
        url, _ = answering(answer)
        with berm.Berm(url) as client:
            return client.host()

    def test_answers_in_every_framing(self):
        head = b"HTTP/1.1 200 OK\r\n"
        for answer in (head + b"Content-Length: 7\r\n\r\n{\"a\":1}", head + b"\r\n{\"a\":1}",
                       head + b"transfer-encoding: chunked\r\n\r\n3;x=y\r\n{\"a\r\n4\r\n\":1}\r\n0\r\nT: x\r\n\r\n",
                       b"HTTP/1.1 100 Continue\r\n\r\n" + head + b"Content-Length: 7\r\n\r\n{\"a\":1}"):
            self.assertEqual(self.ask(answer), {"a": 1})

    def test_answers_that_no_daemon_gives_become_errors(self):
        head = b"HTTP/1.1 200 OK\r\n"
        for answer, code in ((b"", "RPC_TRANSPORT_ERROR"), (head + b"Content-Length: 9\r\n\r\n{}", "RPC_TRANSPORT_ERROR"),
                             (head + b"Content-Length: 4\r\n\r\ntext", "INVALID_JSON_RESPONSE"), (head + b"X: " + b"x" * 200000, "RPC_TRANSPORT_ERROR"),
                             (b"nonsense\r\n\r\n", "RPC_TRANSPORT_ERROR"), (head + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", "RPC_TRANSPORT_ERROR"),
                             (head + b"Content-Length: -5\r\n\r\n", "RPC_TRANSPORT_ERROR"),
                             (b"HTTP/1.1 500 No\r\nContent-Length: 4\r\n\r\ntext", "INTERNAL_ERROR")):
            with self.assertRaises(berm.SandboxError, msg=answer[:80]) as caught:
                self.ask(answer)
            self.assertEqual(caught.exception.code, code, answer[:80])

    def test_the_daemons_own_codes_become_the_sdks(self):
        body = b'{"error":"full","code":"capacity_exceeded"}'
        with self.assertRaises(berm.ContainerUnavailableError) as caught:
            self.ask(b"HTTP/1.1 503 No\r\nRetry-After: 10\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
        self.assertEqual(caught.exception.retry_after_ms, 10000)
        with self.assertRaises(AttributeError):
            caught.exception.nothing

    def test_a_key_is_sent_and_cannot_break_the_head(self):
        url, requests = answering(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
        berm.Berm(url, "key-1").host()
        self.assertIn(b"\r\nAuthorization: Bearer key-1\r\n", requests[0])
        with self.assertRaises(ValueError):
            berm.Berm(url, "key\r\nX: y").host()
        with self.assertRaises(ValueError):
            berm.Berm(url).sandbox("a").get_process("..")

    def test_errors_survive_pickling(self):
        error = pickle.loads(pickle.dumps(berm.FileNotFoundError("FILE_NOT_FOUND", "no", {"path": "/a"})))
        self.assertEqual((error.code, error.path, str(error)), ("FILE_NOT_FOUND", "/a", "no"))


class Blocking(unittest.TestCase):
    def setUp(self):
        self.client = berm.Berm()
        self.addCleanup(self.client.close)

    def test_options_are_sent_before_the_first_use_and_again_after_destroy(self):
        sandbox = self.client.sandbox("py-options", display_name="With options", labels={"of": "options"}, limits={"pids": 77}, sleep_after="7m")
        self.assertFalse(sandbox.is_running())
        self.assertEqual(sandbox.get_state(), "stopped")
        with sandbox:
            sandbox.exec("true")
            self.assertEqual(sandbox.describe()["name"], "With options")
            self.assertEqual([found["id"] for found in self.client.sandboxes(display_name="With options")], [sandbox.id])
            self.assertEqual((sandbox.describe()["labels"], sandbox.describe()["sleepAfter"]), ({"of": "options"}, 420))
            sandbox.destroy()
            sandbox.exec("true")
            self.assertEqual(sandbox.describe()["limits"]["pids"], 77)
            self.assertEqual(sandbox.get_state(), "healthy")
            self.assertGreater(sandbox.stats()["usage"]["pids"], 0)
        self.assertFalse(sandbox.is_running())
        with self.assertRaises(berm.InvalidRequestError) as caught:
            self.client.sandbox("py-wrong", limits={"pids": 0}).exec("true")
        self.assertEqual(caught.exception.field, "limits.pids")

    def test_a_handle_is_used_by_several_threads(self):
        with self.client.sandbox("py-threads") as sandbox:
            results = {}

            def work(n):
                results[n] = sandbox.exec(f"sleep 0.05; echo {n}", session_id=f"s{n}").stdout

            threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            self.assertEqual(results, {n: str(n) for n in range(8)})

    def test_waiters_tell_why_they_ended(self):
        with self.client.sandbox("py-waiters") as sandbox:
            process = sandbox.start_process("echo one; sleep 30")
            self.assertEqual(process.wait_for_log("on", timeout=100).line, "one")
            for wait, condition in ((lambda: process.wait_for_log("never", 0.05), '"never"'), (lambda: process.wait_for_exit(0.05), "process exit"),
                                    (lambda: process.wait_for_port(8099, mode="tcp", timeout=0.05), "port 8099 (TCP)")):
                with self.assertRaises(berm.ProcessReadyTimeoutError) as caught:
                    wait()
                self.assertEqual((caught.exception.condition, caught.exception.timeout), (condition, 50))
            process.kill()
            self.assertEqual(process.get_status(), "killed")
            with self.assertRaises(berm.ProcessExitedBeforeReadyError) as caught:
                process.wait_for_log("never")
            self.assertEqual(caught.exception.exit_code, 143)
        self.assertEqual(sandbox.list_processes(), [])
        self.assertIsNone(sandbox.get_process("any"))

    def test_large_files_stream_both_ways_and_keep_their_mode(self):
        data = bytes(range(256)) * 8192
        with self.client.sandbox("py-files") as sandbox:
            sandbox.exec("mkdir -p /srv/d; cd /srv/d; printf x > run; chmod 755 run")
            sandbox.write_file("run", (data[i:i + 100000] for i in range(0, len(data), 100000)))
            self.assertEqual(sandbox.exec("stat -c %a /srv/d/run; ls /srv/d").stdout, "755\nrun")
            self.assertEqual(sandbox.read_file("run").data, data)
            self.assertEqual(sandbox.stat_file("run").size, len(data))
            sandbox.write_file("/workspace/part", b"0123456789")
            parts = [sandbox.read_bytes("/workspace/part", offset=2, length=3), sandbox.read_bytes("/workspace/part", offset=8), sandbox.read_bytes("/workspace/part")]
            self.assertEqual(parts, [b"234", b"89", b"0123456789"])
            with self.assertRaises(FileNotFoundError):
                sandbox.read_file("nothing")
            with self.assertRaises(berm.FileSystemError):
                sandbox.write_file("/proc/nothing", iter([b"x"]))

    def test_the_workspace_is_an_archive_that_tarfile_reads_and_writes(self):
        with self.client.sandbox("py-archive") as sandbox:
            sandbox.write_file("/workspace/a.txt", "a")
            with sandbox.persist(excludes=["b*"]) as archive:
                names = tarfile.open(fileobj=io.BytesIO(archive.read())).getnames()
            self.assertIn("./a.txt", names)
            made = io.BytesIO()
            with tarfile.open(fileobj=made, mode="w") as archive:
                entry = tarfile.TarInfo("new.txt")
                entry.size = 3
                archive.addfile(entry, io.BytesIO(b"new"))
            sandbox.hydrate(made.getvalue())
            self.assertEqual(sandbox.read_file("/workspace/new.txt").content, "new")

    def test_variables_sessions_and_what_is_refused(self):
        with self.client.sandbox("py-variables", env={"KEPT": "kept"}) as sandbox:
            sandbox.set_env_vars({"WORD": "it's $HOME", "GONE": None})
            self.assertEqual(sandbox.exec('printf "$KEPT|$WORD"').stdout, "kept|it's $HOME")
            sandbox.set_env_vars({"OTHER": "o", "WORD": None})
            self.assertEqual(sandbox.exec('printf "$KEPT|${WORD-unset}|$OTHER"', session_id="new").stdout, "kept|unset|o")
            sandbox.set_labels({"a": "1", "b": "2"})
            sandbox.change_labels({"a": None, "c": "3"})
            self.assertEqual(sandbox.describe()["labels"], {"b": "2", "c": "3"})
            session = sandbox.create_session("own", env={"WORD": "mine"})
            self.assertEqual((session.id, session.exec('printf "$KEPT|$WORD"').stdout), ("own", "kept|mine"))
            self.assertIn("own", sandbox.list_sessions())
            sandbox.delete_session("own")
            for call in (lambda: sandbox.delete_session("default"), lambda: sandbox.exec("true", session_id=" "), lambda: sandbox.set_env_vars({"A B": "x"})):
                with self.assertRaises(ValueError):
                    call()
            with self.assertRaises(berm.NotSupportedError):
                sandbox.create_backup()
            with self.assertRaises(berm.InvalidMountConfigError):
                sandbox.mount_bucket("b", "/mnt/b", endpoint="ftp://x")
            with self.assertRaisesRegex(berm.InvalidMountConfigError, "No active mount"):
                sandbox.unmount_bucket("/mnt/b")
            self.assertEqual(sandbox.set_egress({"mode": "deny", "hosts": ["a.example"]})["policy"]["hosts"], ["a.example"])

    def test_a_terminal_is_left_and_found_again(self):
        with self.client.sandbox("py-terminal") as sandbox:
            session = sandbox.get_session("shared")
            with session.open_terminal(cols=90, rows=20) as terminal:
                terminal.resize(120, 40)
                terminal.write("stty size; echo in-$((40 + 2))\r")
                screen = b""
                for piece in terminal:
                    screen += piece
                    if b"40 120\r\n" in screen and b"in-42\r\n" in screen:
                        break
            with session.open_terminal() as terminal:
                terminal.write("exit 5\r")
                self.assertIn(b"in-42", b"".join(terminal))
                self.assertEqual(terminal.exit, berm.TerminalExit(5))

    def test_events_are_followed(self):
        sandbox = self.client.sandbox("py-events")
        with self.client.follow_events() as everything:
            sandbox.start()
            sandbox.set_keep_alive(True)
            first, *later = sandbox.events()
            self.assertEqual(first["event"], "created")
            with sandbox.follow_events(after=first["number"]) as own:
                sandbox.destroy()
                self.assertEqual([event["event"] for event in own], [event["event"] for event in later] + ["destroyed"])
            for event in everything:
                if event["sandbox"] == sandbox.id and event["event"] == "destroyed":
                    break

    def test_the_daemon(self):
        self.assertTrue(self.client.health()["ok"])
        self.assertRegex(self.client.new_id(), "^[a-z2-7]{26}$")
        self.assertTrue(any(image["name"] for image in self.client.images()))
        self.assertEqual(self.client.openapi()["openapi"], "3.1.0")
        self.assertIn("# TYPE", self.client.metrics())
        self.client.set_secret("PY_TOKEN", "Bearer 12345678")
        self.assertEqual(self.client.link(), {"state": "off"})
        self.assertIn("PY_TOKEN", [secret["name"] for secret in self.client.secrets()])
        self.client.delete_secret("PY_TOKEN")


class Asyncio(unittest.IsolatedAsyncioTestCase):
    async def test_many_at_once_and_a_cancelled_one(self):
        async with berm.AsyncBerm() as client, client.sandbox("py-async") as sandbox:
            results = await asyncio.gather(*(sandbox.exec(f"echo {n}", session_id=f"s{n}") for n in range(20)))
            self.assertEqual([result.stdout for result in results], [str(n) for n in range(20)])
            with self.assertRaises(asyncio.TimeoutError):
                await asyncio.wait_for(sandbox.exec("sleep 30", session_id="long"), 0.1)
            self.assertEqual((await sandbox.exec("echo after")).stdout, "after")

    async def test_a_stream_is_left_early_and_the_next_request_works(self):
        async with berm.AsyncBerm() as client, client.sandbox("py-async-streams") as sandbox:
            async with await sandbox.exec_stream("while :; do echo line; sleep 0.01; done") as events:
                async for event in events:
                    if event.type == "stdout":
                        break
            self.assertEqual(await sandbox.kill_all_processes(), 1)

            async def pieces():
                for n in range(3):
                    yield b"%d\n" % n
                    await asyncio.sleep(0)
            self.assertEqual((await sandbox.exec_argv(["cat"], stdin=pieces())).stdout, b"0\n1\n2\n")

    async def test_contexts_are_shared_by_runs_at_once(self):
        if os.environ.get("BERM_IMAGE") != "base":
            self.skipTest("the image has no Python")
        async with berm.AsyncBerm() as client, client.sandbox("py-async-code") as sandbox:
            results = await asyncio.gather(*(sandbox.run_code("n = globals().get('n', 0) + 1; n") for _ in range(5)))
            self.assertEqual(sorted(result.text for result in results), ["1", "2", "3", "4", "5"])
            self.assertEqual(len(await sandbox.list_code_contexts()), 1)


unittest.main(verbosity=2)
