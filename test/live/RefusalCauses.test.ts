/** What refusals are for that are not the verifier's: rights, namespaces, types, places of pins. */
import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Os from "node:os"
import * as Path from "node:path"
import { MapType, ProgType } from "../../src/services/Kernel/abi/BpfConstants.ts"
import { inSession, kernelError, mapCreate, progLoad, returning } from "../support/LiveKernel.ts"
import { describeWith } from "../support/Require.ts"
import * as RightsSuite from "../support/RightsSuite.ts"
import * as Ref from "../../src/services/Kernel/Ref.ts"

describeWith({ kind: "live", root: true, tools: ["setpriv"] }, "a process without rights", () => {
  it("is told which capabilities are missing, of each type of program and map and of a helper", () => {
    const bpf = RightsSuite.withCapabilities("bpf")
    RightsSuite.assertRights(new Map([["bpf", bpf]]), new Map())
    assert.deepInclude(bpf.get(`prog ${ProgType.BPF_PROG_TYPE_KPROBE}`), { capabilities: ["CAP_PERFMON"] })
    assert.deepInclude(bpf.get(`prog ${ProgType.BPF_PROG_TYPE_XDP}`), { capabilities: ["CAP_NET_ADMIN"] })
    assert.deepInclude(bpf.get(`map ${MapType.BPF_MAP_TYPE_SOCKMAP}`), { capabilities: ["CAP_NET_ADMIN"] })
    assert.deepInclude(bpf.get("helper 6"), { reason: "MissingCapability", capabilities: ["CAP_PERFMON"] })
    assert.strictEqual(bpf.get(`prog ${ProgType.BPF_PROG_TYPE_SOCKET_FILTER}`)?.errno, "")
  })
})

describeWith({ kind: "live", root: true, tools: ["unshare"] }, "a process in a user namespace", () => {
  it("is told that its capabilities are worth nothing there", () => {
    const said = RightsSuite.inNamespace()
    const forbidden = [...said.values()].filter(({ errno }) => errno === "EPERM")
    assert.isAbove(forbidden.length, 20)
    assert.deepStrictEqual([...new Set(forbidden.map(({ reason }) => reason))], ["UserNamespace"])
  })
})

describeWith({ kind: "live", root: true }, "a refusal on the running kernel", () => {
  it.live("names a type of program that the kernel does not have", () =>
    Effect.gen(function*() {
      const error = yield* Effect.flip(inSession((session) => session.call(progLoad(0, returning(0), { type: 1000 }))))
      assert.deepInclude(error, { _tag: "VerifierError", errno: "EINVAL", reason: "UnknownType" })
    }))

  it.live("names a folder that is in no bpf file system", () =>
    inSession((session) =>
      Effect.gen(function*() {
        yield* session.call(mapCreate(0))
        const path = Path.join(Os.tmpdir(), "effect-bpf-no-bpffs")
        const error = yield* kernelError(session.call({ _tag: "ObjPin", object: Ref.map(0), path }))
        assert.deepInclude(error, { errno: "EINVAL", reason: "NoBpffs" })
      })
    ))
})
