/**
 * Operators' commands on kernels in which things go at any moment, or that have what none at hand has: netkit, XDP in several
 * places, LSM programs of cgroups.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as fc from "fast-check"
import * as Fs from "node:fs"
import * as Path from "node:path"
import * as Cgroup from "../../../src/cli/cgroup/Verbs.ts"
import { cgroupProgJson, cgroupsJson } from "../../../src/cli/json/CgroupDocument.ts"
import { netJson } from "../../../src/cli/json/NetDocument.ts"
import { formatted } from "../../../src/cli/json/FormattedValue.ts"
import { tracedJson } from "../../../src/cli/json/PerfDocument.ts"
import { tokenJson } from "../../../src/cli/json/TokenDocument.ts"
import * as Net from "../../../src/cli/net/Verbs.ts"
import { delegations } from "../../../src/cli/objects/Delegations.ts"
import * as Mounts from "../../../src/cli/objects/Mounts.ts"
import * as Objects from "../../../src/cli/objects/Objects.ts"
import * as Traced from "../../../src/cli/perf/Traced.ts"
import { signature } from "../../../src/cli/objects/Declaration.ts"
import { cgroupsText } from "../../../src/cli/text/CgroupText.ts"
import { netText } from "../../../src/cli/text/NetText.ts"
import { tracedText } from "../../../src/cli/text/PerfText.ts"
import { type Line, plain, render } from "../../../src/cli/text/Text.ts"
import { tokensText } from "../../../src/cli/text/TokenText.ts"
import { AttachType } from "../../../src/services/Kernel/abi/BpfConstants.ts"
import type { Device, XdpState } from "../../../src/services/Kernel/abi/netlink/Device.ts"
import { Kernel } from "../../../src/services/Kernel/Kernel.ts"
import type { KernelCall, ProgInfo } from "../../../src/services/Kernel/KernelCall.ts"
import * as Ref from "../../../src/services/Kernel/Ref.ts"
import * as B from "../../support/arbitrary/BtfBlob.ts"
import { type Script, scripted } from "../../support/ScriptedAttach.ts"
import { temporaryFolder } from "../../support/Require.ts"

const none = { recordSize: 0, count: 0, records: new Uint8Array() }

const evil = "x\u001b[2J\u202e"

const info = (id: number): ProgInfo => ({
  id,
  type: 8,
  name: evil,
  tag: "00",
  gplCompatible: true,
  xlatedLength: 8,
  jitedLength: 8,
  mapIds: [],
  btfId: 0,
  funcInfo: none,
  lineInfo: none,
  verifiedInstructions: 1,
  loadTime: 0n,
  createdByUid: 0,
  ifindex: 0,
  runTime: 0n,
  runCount: 0n,
  recursionMisses: 0n,
  attachBtfObjectId: 0,
  attachBtfId: 0
})

/** What a body answers in a session on a script; programs that were opened tell which they are. */
const on = <A, E>(script: Script, body: (objects: Objects.Objects) => Effect.Effect<A, E, Kernel>) => {
  const opened = new Map<string, number>()
  const whole: Script = (call) => {
    const answer = script(call)
    if (answer !== undefined) return answer
    if (call._tag === "GetById") opened.set(Ref.key(call.as), call.id)
    return call._tag === "ProgGetInfo" ? { value: info(opened.get(Ref.key(call.prog)) ?? 0) } : undefined
  }
  const { kernel } = scripted(whole)
  return Effect.scoped(Effect.flatMap(Objects.open, body)).pipe(Effect.provideService(Kernel, kernel))
}

const programs = (...ids: ReadonlyArray<number>) => ({
  value: { flags: 0, revision: 0n, programs: ids.map((id) => ({ id, flags: 2, linkId: 0, linkFlags: 0 })) }
})

/** Nothing that a terminal acts upon. */
const isSafe = (lines: ReadonlyArray<Line>): boolean =>
  !/[\p{Cc}\p{Bidi_Control}]/u.test(render(lines, plain).replaceAll("\n", ""))

/** Whether a folder is there that may be written to. */
const isWritable = (folder: string): boolean => {
  try {
    Fs.accessSync(folder, Fs.constants.W_OK)
    return true
  } catch {
    return false
  }
}

describe("cgroup", () => {
  const root = temporaryFolder()
  const folders = ["a", "a/b", "c"].map((name) => Path.join(root, name))
  for (const folder of folders) Fs.mkdirSync(folder)
  const asked = { path: root, effective: false }
  const gone = (path: string, errno: "ENOENT" | "ENODEV" = "ENOENT"): Script => (call) =>
    call._tag === "TargetOpen" && call.path === path
      ? errno
      : call._tag !== "ProgQuery"
      ? undefined
      : call.attachType === AttachType.BPF_CGROUP_INET_EGRESS
      ? programs(7, 8)
      : call.attachType === AttachType.BPF_LSM_CGROUP
      ? "EOPNOTSUPP"
      : "EINVAL"
  const paths = (script: Script) =>
    Effect.map(on(script, (objects) => Cgroup.tree(objects, asked)), (found) => found.map(({ path }) => path))

  it.effect("tree goes down each folder before the next, and leaves out what goes", () =>
    Effect.gen(function*() {
      assert.deepStrictEqual(yield* paths(gone("")), [root, ...folders])
      for (const folder of folders) {
        for (const errno of ["ENOENT", "ENODEV"] as const) {
          assert.deepStrictEqual(
            yield* paths(gone(folder, errno)),
            [root, ...folders].filter((each) => each !== folder)
          )
        }
      }
      const error = yield* Effect.flip(paths(gone(root)))
      assert.match(error.message, /ENOENT/)
    }))

  it.effect("tree of a link to a folder is that of the folder", () =>
    Effect.gen(function*() {
      // On another file system than the link itself, where there is one.
      const link = Path.join(
        isWritable("/dev/shm") ? Fs.mkdtempSync("/dev/shm/effect-bpf-") : temporaryFolder(),
        "link"
      )
      Fs.symlinkSync(root, link)
      const found = yield* on(gone(""), (objects) => Cgroup.tree(objects, { path: link, effective: false }))
      assert.deepStrictEqual(found.map(({ path }) => path), [
        link,
        ...["a", "a/b", "c"].map((name) => Path.join(link, name))
      ])
      Fs.rmSync(link)
      if (Path.dirname(link).startsWith("/dev/shm/")) Fs.rmdirSync(Path.dirname(link))
    }))

  it.effect("programs that go are left out; each is asked about once; what is forbidden is told", () =>
    Effect.gen(function*() {
      const calls: Array<KernelCall> = []
      const watched = (errno: "ENOENT" | "EPERM" | undefined): Script => (call) => {
        calls.push(call)
        return call._tag === "GetById" && call.id === 8 ? errno : gone("")(call)
      }
      const tree = (errno: "ENOENT" | "EPERM" | undefined) =>
        on(watched(errno), (objects) => Cgroup.tree(objects, asked))
      const found = yield* tree("ENOENT")
      assert.deepStrictEqual(found.map(({ programs }) => programs.map(({ info }) => info.id)), [[7], [7], [7], [7]])
      assert.lengthOf(calls.filter((call) => call._tag === "GetById" && call.id === 7), 1)
      assert.match((yield* Effect.flip(tree("EPERM"))).message, /EPERM/)
      const all = yield* tree(undefined)
      assert.isTrue(isSafe(cgroupsText([{ path: evil, programs: all[0]?.programs ?? [] }])))
      assert.deepStrictEqual(cgroupsJson([]), [])
    }))

  it("flags that have no name are in hexadecimal; the function is told of LSM programs", () => {
    const program = { attachType: AttachType.BPF_LSM_CGROUP, name: "x", info: info(1) }
    const flags = (flags: number) => cgroupProgJson({ ...program, flags, target: "" })["attach_flags"]
    assert.deepStrictEqual([0, 1, 2, 0x42].map(flags), ["", "override", "multi", "unknown(42)"])
    assert.notProperty(cgroupProgJson({ ...program, flags: undefined, target: undefined }), "attach_flags")
    assert.notProperty(cgroupProgJson({ ...program, flags: undefined, target: undefined }), "attach_btf_name")
    assert.include(cgroupProgJson({ ...program, flags: 0, target: "bpf_lsm_file_open" }), {
      attach_type: "lsm_cgroup",
      attach_btf_name: "bpf_lsm_file_open"
    })
  })
})

describe("net", () => {
  const xdp: XdpState = { mode: "none", programId: 0, driverProgramId: 0, genericProgramId: 0, hardwareProgramId: 0 }
  const device = (index: number, state: Partial<XdpState> = {}): Device => ({
    index,
    name: `eth${index}${evil}`,
    xdp: { ...xdp, ...state }
  })
  const devices = [
    device(1),
    device(2, { mode: "several", genericProgramId: 3, hardwareProgramId: 4 }),
    device(3, { mode: "hardware", programId: 5 })
  ]
  const filter = {
    index: 1,
    parent: 0,
    handle: 1,
    priority: 1,
    programId: 9,
    name: evil,
    chain: 0,
    directAction: false
  }
  const base: Script = (call) => {
    switch (call._tag) {
      case "DeviceList":
        return { value: devices }
      case "IdNext":
        return "EINVAL"
      case "ProgQuery":
        return call.attachType === AttachType.BPF_NETKIT_PEER && call.target._tag === "Device" &&
            call.target.ifindex === 2
          ? programs(6)
          : "EINVAL"
      case "QdiscList":
        return {
          value: [
            { index: 1, handle: 0x10001, parent: 0x10000, kind: "htb", isClass: true },
            { index: 1, handle: 0x10000, parent: 0xffff_ffff, kind: "htb", isClass: false },
            { index: 1, handle: 0, parent: 0xffff_ffff, kind: "noqueue", isClass: false },
            { index: 1, handle: 0xffff_0000, parent: 0xffff_fff1, kind: "clsact", isClass: false }
          ]
        }
      case "FilterList":
        return { value: call.device.ifindex === 1 ? [{ ...filter, parent: call.parent }] : [] }
      default:
        return undefined
    }
  }
  const show = (script: Script) => on(script, (objects) => Net.show(objects, undefined))

  it.effect("shows XDP in several places, netkit, and filters of every discipline once", () =>
    Effect.gen(function*() {
      const attached = yield* show(base)
      const [document] = netJson(attached)
      assert.deepStrictEqual(JSON.parse(JSON.stringify(document)).xdp, [
        {
          devname: `eth2${evil}`,
          ifindex: 2,
          multi_attachments: [{ mode: "generic", id: 3 }, { mode: "offload", id: 4 }]
        },
        { devname: `eth3${evil}`, ifindex: 3, mode: "offload", id: 5 }
      ])
      assert.deepStrictEqual(
        attached.tc.map((each) =>
          each._tag === "Filter" ? [each.kind, each.filter.parent] : [each.attachType, each.id]
        ),
        [
          ["htb", 0x10001],
          ["htb", 0x10000],
          ["clsact/ingress", 0xffff_fff2],
          ["clsact/egress", 0xffff_fff3],
          [AttachType.BPF_NETKIT_PEER, 6]
        ]
      )
      assert.isTrue(isSafe(netText(attached)))
    }))

  it.effect("leaves out devices and programs that go, whatever is asked when they do", () =>
    Effect.gen(function*() {
      for (const tag of ["ProgQuery", "QdiscList", "FilterList", "GetById"] as const) {
        const attached = yield* show((call) => call._tag === tag ? "ENODEV" : base(call))
        assert.lengthOf(attached.xdp, 2)
      }
      // As of devices that are no netkit, and of the other end of one.
      for (const errno of ["ENXIO", "EACCES"] as const) {
        const isPlace = (call: KernelCall) => call._tag === "ProgQuery" && call.target._tag === "Device"
        const attached = yield* show((call) => isPlace(call) ? errno : base(call))
        assert.deepStrictEqual(attached.tc.map(({ _tag }) => _tag), ["Filter", "Filter", "Filter", "Filter"])
      }
      for (const tag of ["ProgQuery", "QdiscList", "FilterList", "IdNext", "DeviceList"] as const) {
        const error = yield* Effect.flip(show((call) => call._tag === tag ? "EPERM" : base(call)))
        assert.match(error.message, /EPERM/, tag)
      }
    }))

  it.effect("netfilter links are in the order in which they run", () =>
    Effect.gen(function*() {
      const order = [[10, 0, 5], [2, 3, 1], [2, 1, 9], [2, 1, -9]] as const
      const ids = new Map<string, number>()
      const attached = yield* show((call) => {
        if (call._tag === "IdNext") return { value: call.after < order.length ? call.after + 1 : undefined }
        if (call._tag === "GetById") ids.set(Ref.key(call.as), call.id)
        if (call._tag !== "LinkGetInfo") return base(call)
        const id = ids.get(Ref.key(call.link)) ?? 0
        const [protocolFamily, hook, priority] = order[id - 1] ?? [0, 0, 0]
        return {
          value: {
            id,
            type: 10,
            progId: id,
            detail: { _tag: "Netfilter", protocolFamily, hook, priority, flags: 0 }
          }
        }
      })
      assert.deepStrictEqual(attached.netfilter.map(({ progId }) => progId), [4, 3, 2, 1])
      assert.isTrue(isSafe(netText(attached)))
    }))
})

describe("perf", () => {
  it.effect("asks about descriptors that are no files, and bears that processes end", () =>
    Effect.gen(function*() {
      const targets: Readonly<Record<number, string>> = {
        1: "/dev/null",
        2: "anon_inode:[perf_event]",
        3: "anon_inode:x"
      }
      const asked: Array<number> = []
      const found = yield* on(
        (call) => {
          if (call._tag !== "TaskFdQuery") return undefined
          asked.push(call.fd)
          return call.fd === 3
            ? undefined
            : { value: { progId: 1, type: 2, name: "", offset: 0n, address: 0xffff_ffff_8100_0000n } }
        },
        (objects) =>
          Traced.all(objects, {
            names: (path) => path === "/proc" ? ["1", "2"] : path === "/proc/1/fd" ? ["1", "2", "3", "4"] : undefined,
            target: (path) => targets[Number(path.split("/").at(-1))],
            text: () => undefined
          })
      )
      assert.deepStrictEqual(asked, [2, 3])
      assert.deepStrictEqual(found.map(({ comm, fd, pid }) => [pid, fd, comm]), [[1, 2, ""]])
      assert.strictEqual(
        JSON.stringify(found.map(tracedJson)),
        `[{"pid":1,"fd":2,"prog_id":1,"fd_type":"kprobe","addr":18446744071578845184}]`
      )
    }))

  it("has bpftool's keys for every kind, and none for what has no name", () => {
    const traced = { pid: 1, fd: 2, comm: evil, progId: 3, name: evil, offset: 4n, address: 5n }
    const keys = (type: number) => Object.keys(tracedJson({ ...traced, type })).slice(3)
    assert.deepStrictEqual([0, 1, 2, 3, 4, 5, 6].map(keys), [
      ["fd_type", "tracepoint"],
      ["fd_type", "tracepoint"],
      ["fd_type", "func", "offset"],
      ["fd_type", "func", "offset"],
      ["fd_type", "filename", "offset"],
      ["fd_type", "filename", "offset"],
      []
    ])
    for (let type = 0; type < 7; type++) assert.isTrue(isSafe(tracedText([{ ...traced, type }])))
  })
})

describe("functions in structs", () => {
  // What types mean by their numbers: 1 is the first.
  const types = B.btfOf([
    B.int("int", 4, 1),
    B.struct("sock", 4, [["a", 1, 0]]),
    B.ptr(2),
    B.constant(2),
    B.ptr(4),
    B.funcProto(0, [["sk", 3], ["", 5]]),
    B.ptr(6),
    B.array(1, 1, 3),
    B.funcProto(1, [["each", 7], ["", 1], ["list", 8], ["", 0]]),
    B.funcProto(0, [])
  ])

  it("are their types in one line, as bpftool writes them", () => {
    assert.strictEqual(signature(types, 6), "void (struct sock * sk, const struct sock *)")
    assert.strictEqual(
      signature(types, 9),
      "int (void (struct sock * sk, const struct sock *)* each, int, int [3]list, ...)"
    )
    assert.strictEqual(signature(types, 10), "void ()")
    for (const id of [0, 1, 2, 3]) assert.isUndefined(signature(types, id))
  })

  it("that are too deep or too long have none", () => {
    const deep = B.btfOf([
      B.funcProto(0, [["a", 2]]),
      ...Array.from({ length: 5000 }, (_, at) => B.ptr(at + 3)),
      B.int("int", 4, 1)
    ])
    assert.isUndefined(signature(deep, 1))
    const int = "i".repeat(300)
    const long = B.btfOf([B.int(int, 4, 1), B.funcProto(1, Array.from({ length: 60_000 }, () => ["x", 1] as const))])
    assert.isUndefined(signature(long, 2))
  })

  it("stand in the place of programs; bytes that are no program stay numbers", () => {
    const struct = B.btfOf([
      B.funcProto(0, []),
      B.ptr(1),
      B.int("int", 4, 1),
      B.ptr(3),
      B.struct("ops", 24, [
        ["a", 2, 0],
        ["b", 2, 64],
        ["c", 4, 128]
      ])
    ])
    const bytes = new Uint8Array(BigUint64Array.of(5n, 0x1_0000_0000n, 6n).buffer)
    const seen: Array<number> = []
    const found = formatted(struct, 5, bytes, (btf, proto, prog) => {
      seen.push(prog)
      return `${signature(btf, proto)} ${prog}`
    })
    assert.deepStrictEqual(found, { a: "void () 5", b: 0x1_0000_0000, c: 6 })
    assert.deepStrictEqual(seen, [5])
    assert.deepStrictEqual(formatted(struct, 5, bytes, () => undefined), { a: 5, b: 0x1_0000_0000, c: 6 })
  })
})

describe("tokens and mounts", () => {
  it("options are read as the kernel writes them", () => {
    const text = "bpf /sys/fs/bpf bpf rw,relatime 0 0\n" +
      "bpf /run/a\\040b\\134 bpf rw,delegate_cmds=map_create:prog_load,delegate_attachs=any,delegate_progs= 0 0\n" +
      "bpf /caf\u00c3\u00a9 bpf rw,delegate_maps=0x8000 0 0\n" +
      "x /y tmpfs rw,delegate_cmds=any 0 0\nshort line\n"
    const found = delegations(Mounts.parse(text))
    assert.deepStrictEqual(found.map(tokenJson), [
      {
        token_info: "/run/a b\\",
        allowed_cmds: ["map_create", "prog_load"],
        allowed_maps: [],
        allowed_progs: [],
        allowed_attachs: ["any"]
      },
      { token_info: "/café", allowed_cmds: [], allowed_maps: ["0x8000"], allowed_progs: [], allowed_attachs: [] }
    ])
    assert.isTrue(isSafe(tokensText([{ folder: evil, commands: [evil], maps: [], programs: [], attachTypes: [] }])))
  })

  it("any text is some mounts, and is told without what a terminal acts upon", () => {
    const option = fc.oneof(fc.constant("delegate_cmds="), fc.constant("delegate_maps=any"), fc.string())
    const line = fc.array(fc.oneof(fc.string(), fc.constant("bpf"), option), { maxLength: 6 }).map((all) =>
      all.join(" ")
    )
    fc.assert(fc.property(fc.array(line), (lines) => {
      const found = delegations(Mounts.parse(lines.join("\n")))
      assert.isTrue(isSafe(tokensText(found)))
      assert.isAtMost(found.length, lines.join("\n").split("\n").length)
    }))
  })
})
