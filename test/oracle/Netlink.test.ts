/**
 * What is sent by netlink beside libbpf's `bpf_xdp_attach` and `bpf_tc_*`, byte for byte: the peer runs in a namespace of the
 * test's own, and strace shows what it sends.
 */
import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fs from "node:fs"
import * as Path from "node:path"
import * as Device from "../../src/services/Kernel/abi/netlink/Device.ts"
import * as Exchange from "../../src/services/Kernel/abi/netlink/Exchange.ts"
import * as Filter from "../../src/services/Kernel/abi/netlink/Filter.ts"
import { network } from "../support/Network.ts"
import { describeWith, repository, run, temporaryFolder } from "../support/Require.ts"

/** The datagrams in a trace with `-e write=all`: a line of hexadecimal digits for each 16 bytes. */
const datagrams = (trace: string): ReadonlyArray<Uint8Array> => {
  const found: Array<Array<number>> = []
  for (const line of trace.split("\n")) {
    if (/ send(to|msg)\(/.test(line)) found.push([])
    const digits = /^ \| [0-9a-f]{5}  (.{48})/.exec(line)?.[1]
    if (digits !== undefined) found.at(-1)?.push(...digits.trim().split(/\s+/).map((byte) => Number.parseInt(byte, 16)))
  }
  return found.map((bytes) => Uint8Array.from(bytes))
}

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex").replaceAll(/(.{8})(?=.)/g, "$1 ")

describeWith(
  {
    kind: "oracle",
    root: true,
    tools: ["cc", "strace", "ip", "bash"],
    files: ["/usr/include/bpf/libbpf.h"]
  },
  "netlink beside libbpf",
  () => {
    it.live("XDP attached, replaced and detached; clsact and filters made, replaced and taken away", () =>
      Effect.scoped(Effect.gen(function*() {
        const box = yield* network
        const folder = temporaryFolder()
        const peer = Path.join(folder, "peer")
        const built = run("cc", [
          "-O1",
          "-Wall",
          Path.join(repository, "test/support/netlink_peer.c"),
          "-o",
          peer,
          "-lbpf"
        ])
        assert.strictEqual(built.status, 0, built.stderr)
        const trace = Path.join(folder, "trace")
        const said = box.inside(`strace -f -e trace=sendto,sendmsg -e write=all -o ${trace} ${peer} ${box.ifindex}`)
        const [xdp = 0, other = 0, cls = 0, id = 0] = said.trim().split(" ").map(Number)
        const index = box.ifindex
        const place = { index, parent: Filter.Parent.ingress, handle: 3, priority: 10 }
        const program = { fd: cls, name: `cls:[${id}]` }
        const ours = [
          Device.setXdp({ index, programFd: xdp, flags: 3 }),
          Device.setXdp({ index, programFd: other, flags: 2 | Device.XdpFlag.REPLACE, expectedFd: xdp }),
          Device.setXdp({ index, programFd: -1, flags: 2 }),
          Filter.createClsact(index),
          Filter.attach(place, program, false),
          Filter.attach(place, program, true),
          Filter.detach(place),
          Filter.deleteClsact(index)
        ]
        const theirs = datagrams(Fs.readFileSync(trace, "utf8"))
        assert.deepStrictEqual(
          theirs.map(hex),
          ours.map((request, at) => {
            // The sequence number is anybody's choice.
            const theirSequence = new DataView(theirs[at]?.slice().buffer ?? new ArrayBuffer(16)).getUint32(8, true)
            return hex(Exchange.make(request, theirSequence).bytes)
          })
        )
      })))
  }
)
