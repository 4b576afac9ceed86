"""The list by the Python SDK. Written for asyncio; python.py runs it as it is, and through the SDK's own translation without."""

import base64
import json
import sys

from berm import AsyncBerm, CodeContext, SandboxError, SandboxSecurityError

NO_SESSION = "__DISABLE_SESSION__"


class Operations:
    def __init__(self, url):
        self.berm = AsyncBerm(url)
        self.handles = {}

    def of(self, id):
        if id not in self.handles:
            self.handles[id] = self.berm.sandbox(id)
        return self.handles[id]

    async def process(self, id, args):
        found = await self.of(id).get_process(args["id"])
        if found is None:
            raise SandboxError("PROCESS_NOT_FOUND", "no such process")
        return found

    async def exec(self, id, args):
        milliseconds = args.get("timeoutMs")
        result = await self.of(id).exec(args["command"], session_id=args.get("session", NO_SESSION), cwd=args.get("cwd"), env=args.get("env"),
                                        timeout=milliseconds and milliseconds / 1000)
        return {"exitCode": result.exit_code, "stdout": result.stdout, "stderr": result.stderr}

    async def execLimited(self, id, args):
        result = await self.of(id).exec(args["command"], limits=args["limits"])
        return {"exitCode": result.exit_code, "stdout": result.stdout, "reason": result.usage["reason"]}

    async def execOnce(self, id, args):
        result = await self.of(id).exec(args["command"], session_id=NO_SESSION, idempotency_key=args["key"])
        return {"exitCode": result.exit_code, "stdout": result.stdout}

    async def execArgv(self, id, args):
        result = await self.of(id).exec_argv(args["argv"], stdin=args.get("stdin"))
        return {"exitCode": result.exit_code, "stdout": result.stdout.decode(), "stderr": result.stderr.decode()}

    async def execStream(self, id, args):
        stdout = ""
        async with await self.of(id).exec_stream(args["command"]) as events:
            async for event in events:
                if event.type == "stdout":
                    stdout += event.data
                elif event.type == "complete":
                    return {"stdout": stdout, "exitCode": event.exit_code}

    async def createSession(self, id, args):
        return {"id": (await self.of(id).create_session(args["id"], cwd=args.get("cwd"), env=args.get("env"))).id}

    async def deleteSession(self, id, args):
        await self.of(id).delete_session(args["id"])

    async def startProcess(self, id, args):
        return {"id": (await self.of(id).start_process(args["command"], process_id=args["id"], stdin=args.get("stdin", False))).id}

    async def getProcess(self, id, args):
        found = await self.of(id).get_process(args["id"])
        return {"status": found.status, "exitCode": found.exit_code} if found else Ellipsis

    async def listProcesses(self, id, args):
        return [entry.id for entry in await self.of(id).list_processes()]

    async def processLogs(self, id, args):
        logs = await self.of(id).get_process_logs(args["id"])
        return {"stdout": logs.stdout, "stderr": logs.stderr}

    async def waitForLog(self, id, args):
        return {"line": (await (await self.process(id, args)).wait_for_log(args["text"])).line}

    async def waitForExit(self, id, args):
        return {"exitCode": await (await self.process(id, args)).wait_for_exit()}

    async def waitForPort(self, id, args):
        await (await self.process(id, args)).wait_for_port(args["port"], mode=args["mode"])

    async def writeStdin(self, id, args):
        await self.of(id).write_process_stdin(args["id"], args["data"], args["close"])

    async def killProcess(self, id, args):
        await self.of(id).kill_process(args["id"])

    async def killAllProcesses(self, id, args):
        return {"count": await self.of(id).kill_all_processes()}

    async def writeFile(self, id, args):
        await self.of(id).write_file(args["path"], args["text"] if "text" in args else base64.b64decode(args["base64"]))

    async def readFile(self, id, args):
        result = await self.of(id).read_file(args["path"])
        return {"base64": base64.b64encode(result.data).decode(), "size": result.size}

    async def mkdir(self, id, args):
        await self.of(id).mkdir(args["path"], recursive=args["recursive"])

    async def deleteFile(self, id, args):
        await self.of(id).delete_file(args["path"])

    async def renameFile(self, id, args):
        await self.of(id).rename_file(args["from"], args["to"])

    async def moveFile(self, id, args):
        await self.of(id).move_file(args["from"], args["to"])

    async def statFile(self, id, args):
        file = await self.of(id).stat_file(args["path"])
        return {"name": file.name, "type": file.type, "size": file.size}

    async def exists(self, id, args):
        return {"exists": await self.of(id).exists(args["path"])}

    async def listFiles(self, id, args):
        files = await self.of(id).list_files(args["path"])
        return [{"name": entry.name, "type": entry.type} for entry in sorted(files, key=lambda entry: entry.name)]

    async def watchOne(self, id, args):
        async with await self.of(id).watch(args["path"]) as events:
            await self.of(id).exec_argv(["touch", args["create"]])
            async for event in events:
                if event.type == "event":
                    return {"type": event.event_type, "path": event.path}

    async def checkChanges(self, id, args):
        changes = await self.of(id).check_changes(args["path"], since=args.get("since"))
        return {"status": changes.status, "version": changes.version}

    async def gitCheckout(self, id, args):
        result = await self.of(id).git_checkout(args["url"], target_dir=args.get("target"))
        return {"branch": result.branch, "target": result.target_dir}

    async def createContext(self, id, args):
        context = await self.of(id).create_code_context(language=args["language"])
        return {"id": context.id, "language": context.language}

    async def runCode(self, id, args):
        result = await self.of(id).run_code(args["code"], context=CodeContext(args["context"], "python"))
        return {"stdout": "".join(result.stdout), "results": result.results, "error": result.error and result.error.name}

    async def listContexts(self, id, args):
        return [{"id": context.id, "language": context.language} for context in await self.of(id).list_code_contexts()]

    async def deleteContext(self, id, args):
        await self.of(id).delete_code_context(args["id"])

    async def terminal(self, id, args):
        async with await self.of(id).open_terminal(cols=args["cols"], rows=args["rows"]) as terminal:
            await terminal.write(args["input"])
            output = b"".join([piece async for piece in terminal])
            return {"output": output.decode(), "exitCode": terminal.exit.code}

    async def exposePort(self, id, args):
        port = await self.of(id).expose_port(args["port"], name=args.get("name"), token=args.get("token"))
        return {"port": port.port, "name": port.name, "url": port.url}

    async def listPorts(self, id, args):
        return [{"port": port.port, "name": port.name, "url": port.url} for port in await self.of(id).get_exposed_ports()]

    async def unexposePort(self, id, args):
        await self.of(id).unexpose_port(args["port"])

    async def openTunnel(self, id, args):
        tunnel = await self.of(id).open_tunnel(args["port"])
        return {"port": tunnel.port, "url": tunnel.url}

    async def listTunnels(self, id, args):
        return [{"port": tunnel.port, "url": tunnel.url} for tunnel in await self.of(id).list_tunnels()]

    async def closeTunnel(self, id, args):
        await self.of(id).close_tunnel(args["port"])

    async def setEgress(self, id, args):
        return (await self.of(id).set_egress(args["policy"]))["policy"]

    async def getEgress(self, id, args):
        return (await self.of(id).get_egress())["policy"]

    async def resetEgress(self, id, args):
        return (await self.of(id).reset_egress())["policy"]

    async def configure(self, id, args):
        return described(await self.of(id).configure(**args))

    async def describe(self, id, args):
        return described(await self.of(id).describe())

    async def listByLabel(self, id, args):
        return [sandbox["id"] async for sandbox in self.berm.sandboxes(labels={args["label"]: args["value"]})]

    async def persist(self, id, args):
        return {"base64": base64.b64encode(await (await self.of(id).persist()).read()).decode()}

    async def hydrate(self, id, args):
        await self.of(id).hydrate(base64.b64decode(args["base64"]))

    async def isRunning(self, id, args):
        return {"running": await self.of(id).is_running()}

    async def events(self, id, args):
        return [event["event"] for event in await self.of(id).events()]

    async def destroy(self, id, args):
        await self.of(id).destroy()


def described(sandbox):
    return {"state": sandbox["state"], "labels": sandbox["labels"], "pids": sandbox["limits"]["pids"]}


async def serve(url):
    """One JSON document a line: [op, id, args] in; {"result"} or {"error", "code"} out. {} is the result of an op that has none."""
    operations = Operations(url)
    for line in sys.stdin:
        op, id, args = json.loads(line)
        try:
            result = await getattr(operations, op)(id, args)
            answer = {"result": None if result is Ellipsis else {} if result is None else result}
        except (SandboxError, SandboxSecurityError) as error:
            answer = {"error": str(error), "code": error.code}
        print(json.dumps(answer), flush=True)
    operations.berm.close()
