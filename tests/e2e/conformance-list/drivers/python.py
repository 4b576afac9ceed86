"""python.py asyncio|blocking URL"""

import asyncio
import pathlib
import runpy
import sys

here = pathlib.Path(__file__).resolve().parent
sdk = here.parents[3] / "sdk" / "python"
sys.path.insert(0, str(sdk / "src"))
kind, url = sys.argv[1:]
source = (here / "operations.py").read_text()
if kind == "blocking":
    source = runpy.run_path(str(sdk / "generate"))["blocking"](source)
names = {"__name__": "operations"}
exec(compile(source, f"operations.py ({kind})", "exec"), names)
if kind == "blocking":
    names["serve"](url)
else:
    asyncio.run(names["serve"](url))
