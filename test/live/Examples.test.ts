/** Each example runs, here and where bpf(2) may not be used. */
import { assert, describe, it } from "@effect/vitest"
import * as Path from "node:path"
import { describeWith, repository, run } from "../support/Require.ts"

const environment = {
  FORCE_COLOR: "0",
  NODE_NO_WARNINGS: "1",
  PATH: `${Path.dirname(process.execPath)}:${process.env["PATH"] ?? ""}`
}

const example = (name: string, ...args: ReadonlyArray<string>): string => {
  const { status, stderr, stdout } = run(process.execPath, [Path.join(repository, "examples", name), ...args], {
    env: environment
  })
  assert.deepStrictEqual({ status, stderr }, { status: 0, stderr: "" })
  return stdout
}

describe("examples/inspect.ts", () => {
  it("prints programs and maps", () => {
    const text = example("inspect.ts")
    assert.match(text, /^program xdp_firewall: xdp, 125 instructions$/m)
    assert.match(text, /^map stats: hash, enum protocol -> struct protocol_stats$/m)
    assert.match(
      example("inspect.ts", Path.join(repository, "test/fixtures/ksyms.bpf.o")),
      /^program call_kernel: syscall/m
    )
  })
})

/** What the firewall does to the capture, on whichever kernel. */
const assertFirewall = (text: string): void => {
  const verdicts = [...text.matchAll(/^ {2}packet \d+, \d+ bytes: (\w+)$/gm)].map(([, verdict]) => verdict)
  assert.deepStrictEqual(verdicts, [...Array.from({ length: 8 }, () => "pass"), "drop", "drop", "drop", "drop"])
  for (
    const line of [
      "  TCP     packets 6, bytes 348",
      "  UDP     packets 3, bytes 174",
      "  ARP     packets 1, bytes 42",
      "  dropped 198.51.100.66:6666 -> 192.0.2.10:80, REASON_BLOCKED_ADDRESS",
      "  dropped 203.0.113.5:40001 -> 192.0.2.10:23, REASON_BLOCKED_PORT",
      "  dropped 198.51.100.77:123 -> 192.0.2.10:123, REASON_BLOCKED_ADDRESS",
      "  dropped 203.0.113.5:0 -> 192.0.2.10:0, REASON_MALFORMED"
    ]
  ) assert.include(text, line)
}

const traced = [
  "BtfLoad: ok",
  "MapCreate stats: ok",
  "MapCreate blocklist: ok",
  "MapCreate events: ok",
  "MapCreate xdp_fire.rodata: ok",
  "MapUpdate: ok",
  "MapFreeze: ok",
  "MapCreate xdp_fire.bss: ok",
  "MapUpdate: ok",
  "ProgLoad xdp_firewall: ok",
  "ProgBindMap: ok"
]

describe("examples on the simulated kernel", () => {
  it("firewall.ts drops what it should, counts by protocol, and reports what it dropped", () => {
    const text = example("firewall.ts", "--kernel", "simulated")
    assert.match(text, /^Loaded on a simulated kernel, as asked for\n\nVerdicts$/m)
    assertFirewall(text)
  })

  it("trace.ts prints every call as it is made", () => {
    const lines = example("trace.ts", "--kernel", "simulated").trim().split("\n")
    assert.deepStrictEqual(lines, ["Loaded on a simulated kernel, as asked for", "", ...traced])
  })
})

describeWith({ kind: "live" }, "examples on the running kernel", () => {
  it("firewall.ts drops what it should, counts by protocol, and reports what it dropped", () => {
    const text = example("firewall.ts")
    assert.match(text, /^Loaded on the kernel of this machine, for bpf\(2\) may be used here/)
    assertFirewall(text)
  })

  it("trace.ts prints every call as it is made", () => {
    const lines = example("trace.ts", "--kernel", "live").trim().split("\n")
    assert.deepStrictEqual(lines, ["Loaded on the kernel of this machine, as asked for", "", ...traced])
  })
})

describeWith({ kind: "live", tools: ["setpriv"] }, "the main job without privileges", () => {
  it("is done on a simulated kernel, and says why", () => {
    const script = Path.join(repository, "examples/start.sh")
    const { status, stderr, stdout } = run("setpriv", ["--bounding-set=-all", "--inh-caps=-all", "sh", script], {
      env: environment
    })
    assert.deepStrictEqual({ status, stderr }, { status: 0, stderr: "" })
    assert.match(stdout, /^== 1\. What is in a BPF object/m)
    assert.match(stdout, /^== 2\. [^]*11 calls:$/m)
    assert.match(
      stdout,
      /^== 3\. [^]*^Loaded on a simulated kernel, for the one of this machine cannot be used: .*CAP_BPF/m
    )
    assertFirewall(stdout)
  })
})
