"""Starts the broker, runs every case of every client, says what passed and what failed."""

import sys
import time
import traceback

import aiomqtt_cases
import aws_cases
import mosquitto_cases
import mqttjs_cases
import paho_cases
import paho_v5_cases
from broker import Broker

SUITES = [paho_cases, paho_v5_cases, aiomqtt_cases, aws_cases, mosquitto_cases, mqttjs_cases]


def main():
    binary, work = sys.argv[1:3]
    passed, failed = 0, []
    with Broker(binary, work) as broker:
        for suite in SUITES:
            for name, case in suite.cases(broker):
                begin = time.monotonic()
                try:
                    case()
                except Exception as error:  # whatever a client raises, the others go on
                    failed.append(name)
                    print(f"FAILED  {name}: {error!r}", flush=True)
                    traceback.print_exc()
                else:
                    passed += 1
                    print(f"ok      {name} ({time.monotonic() - begin:.1f} s)", flush=True)
        broker.check_alive()
    print(f"conformance: {passed} passed, {len(failed)} failed")
    return 1 if failed or passed == 0 else 0


if __name__ == "__main__":
    sys.exit(main())
