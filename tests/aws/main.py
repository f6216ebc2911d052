"""Starts the cloud, runs every case of every SDK, says what passed and what failed."""

import itertools
import sys
import time
import traceback

import other_cases
import v2_cases
from cloud import Cloud


def main():
    program, work = sys.argv[1:3]
    passed, failed = 0, []
    with Cloud(program, work) as cloud:
        for name, case in itertools.chain(v2_cases.cases(cloud), other_cases.cases(cloud, work)):
            begin = time.monotonic()
            try:
                case()
            except Exception as error:  # whatever an SDK raises, the others go on
                failed.append(name)
                print(f"FAILED  {name}: {error!r}", flush=True)
                traceback.print_exc()
            else:
                passed += 1
                print(f"ok      {name} ({time.monotonic() - begin:.1f} s)", flush=True)
    print(f"aws: {passed} passed, {len(failed)} failed")
    return 1 if failed or passed == 0 else 0


if __name__ == "__main__":
    sys.exit(main())
