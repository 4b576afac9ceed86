"""Judges submissions: each runs in a sandbox of its own, at the same time as the others, with limits and without a network.

    pip install ../../sdk/python && python3 judge.py
"""

import asyncio

from berm import AsyncBerm

SUBMISSIONS = {
    "right": "print(sum(map(int, input().split())))",
    "wrong": "print(41)",
    "endless": "while True: pass",
    "greedy": "x = b'x' * (1 << 29)",
}


async def judge(berm: AsyncBerm, program: str) -> str:
    limits = {"memoryBytes": 256 << 20, "pids": 32}
    async with berm.sandbox(await berm.new_id(), limits=limits, network="none") as sandbox:
        await sandbox.write_file("/workspace/main.py", program)
        result = await sandbox.exec_argv(["python3", "main.py"], stdin="19 23\n", timeout=4)
    if result.exit_code == 124:
        return "too slow"
    if result.exit_code != 0:
        return "died"
    return "accepted" if result.stdout == b"42\n" else "wrong answer"


async def main() -> None:
    async with AsyncBerm() as berm:
        verdicts = await asyncio.gather(*(judge(berm, program) for program in SUBMISSIONS.values()))
    for name, verdict in zip(SUBMISSIONS, verdicts):
        print(f"{name}: {verdict}")


asyncio.run(main())
