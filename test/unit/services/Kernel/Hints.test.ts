/** Every error number that bpf(2) lists for a command says what to do about it, and errors name command, object and number. */
import { assert, describe, it } from "@effect/vitest"
import { MapType, ProgType } from "../../../../src/services/Kernel/abi/BpfConstants.ts"
import * as ErrnoTable from "../../../../src/services/Kernel/abi/Errno.ts"
import type { Errno } from "../../../../src/services/Kernel/abi/Errno.ts"
import * as Hints from "../../../../src/services/Kernel/abi/Hints.ts"
import type { CallTag } from "../../../../src/services/Kernel/KernelCall.ts"
import { fromErrno, KernelError } from "../../../../src/services/Kernel/KernelError.ts"
import { refused } from "../../../../src/services/Kernel/live/Enter.ts"
import * as Refuse from "../../../../src/services/Kernel/simulated/Refuse.ts"
import { plainMap } from "../../../support/LedgerKernel.ts"

/** What any command may answer: section ERRORS of the manual page, and what signals, limits and policies answer. */
const always: ReadonlyArray<Errno> = [
  "EPERM",
  "EACCES",
  "EBADF",
  "EFAULT",
  "EINVAL",
  "ENOMEM",
  "EMFILE",
  "ENFILE",
  "ENOSYS",
  "EINTR",
  "EAGAIN",
  "EBUSY",
  "ENOTSUPP",
  "EOPNOTSUPP"
]

/** What a command may answer besides: its own paragraph of the manual page, and what the kernel's source has beyond that. */
const own: { readonly [T in Exclude<CallTag, "Close"> | "Borrow"]: ReadonlyArray<Errno> } = {
  Adopt: [],
  Borrow: [],
  BtfGetInfo: ["E2BIG"],
  BtfLoad: ["E2BIG", "ENOSPC"],
  GetById: ["ENOENT"],
  IdNext: ["ENOENT"],
  LoaderRun: [],
  MapCreate: ["E2BIG"],
  MapDelete: ["ENOENT", "E2BIG"],
  MapFreeze: [],
  MapGetInfo: ["E2BIG", "ENODEV"],
  MapLookup: ["ENOENT", "E2BIG"],
  MapMmap: ["EEXIST", "ENODEV"],
  MapNextKey: ["ENOENT"],
  MapLookupAndDelete: [],
  MapLookupBatch: ["ENOENT", "ENOSPC"],
  MapUpdateBatch: ["E2BIG"],
  MapDeleteBatch: ["ENOENT"],
  LinkCreate: ["EEXIST", "ENOENT", "ENODEV", "EPROTO", "ESRCH", "ESTALE"],
  LinkUpdate: ["ENOLINK"],
  LinkDetach: ["ENOLINK"],
  LinkGetInfo: [],
  RawTracepointOpen: ["ENOENT"],
  IterCreate: [],
  IterRead: ["E2BIG"],
  ProbePmuGet: ["ENOENT"],
  TracepointId: ["ENOENT", "ENODEV"],
  SymbolListRead: ["ENOENT"],
  TraceEventAdd: ["ENOENT", "ENODEV"],
  PerfEventOpen: ["ENODEV", "ENOENT", "EEXIST", "EADDRNOTAVAIL", "EILSEQ"],
  PerfEventSetProgram: ["ENOENT", "EEXIST", "EADDRNOTAVAIL", "EILSEQ", "EPROTO"],
  PerfEventSwitch: ["ENOENT", "EEXIST", "EADDRNOTAVAIL", "EILSEQ"],
  EventMmap: ["ENODEV"],
  PerfEventRead: ["ENOSPC"],
  CpusGet: ["ENOENT"],
  TargetOpen: ["ENOENT", "ENOTDIR"],
  ProgAttach: ["EEXIST", "ENOENT", "ENODEV", "EPROTO", "ESRCH", "ESTALE"],
  ProgDetach: ["ENOENT", "ESTALE"],
  ProgQuery: [],
  DeviceGet: ["ENOENT", "ENODEV", "EBADMSG"],
  DeviceList: ["ENOENT", "ENODEV", "EBADMSG"],
  XdpAttach: ["ENOENT", "ENODEV", "EBADMSG", "EEXIST"],
  XdpDetach: ["ENOENT", "ENODEV", "EBADMSG", "EEXIST"],
  ClsactCreate: ["ENOENT", "ENODEV", "EBADMSG", "EEXIST"],
  ClsactDelete: ["ENOENT", "ENODEV", "EBADMSG"],
  FilterAttach: ["ENOENT", "ENODEV", "EBADMSG", "EEXIST"],
  FilterDetach: ["ENOENT", "ENODEV", "EBADMSG"],
  FilterList: ["ENOENT", "ENODEV", "EBADMSG"],
  QdiscList: ["ENOENT", "ENODEV", "EBADMSG"],
  TaskFdQuery: [],
  MapUpdate: ["E2BIG", "EEXIST", "ENOENT"],
  ObjGet: ["ENOENT", "ENOTDIR"],
  ObjPin: ["EEXIST", "ENOENT", "ENOTDIR", "ENAMETOOLONG"],
  ObjUnpin: ["ENOENT", "EISDIR", "ENOTDIR"],
  ProgBindMap: [],
  ProgGetInfo: ["E2BIG", "ENODEV"],
  ProgLoad: ["E2BIG", "ENOSPC"],
  ProgTestRun: ["E2BIG", "ENOSPC", "ENXIO", "ETIMEDOUT"],
  ProgStreamRead: [],
  StatsEnable: [],
  ViewWrite: [],
  Wait: ["EMFILE", "ENOSPC"]
}

const attributes = {
  name: "p",
  type: ProgType.BPF_PROG_TYPE_XDP,
  expectedAttachType: 0,
  license: "GPL",
  kernelVersion: 0,
  flags: 0,
  ifindex: 0
}

const run = {
  _tag: "ProgTestRun",
  prog: { _tag: "Prog", index: 0 },
  dataOutSize: 0,
  contextOutSize: 0,
  repeat: 1,
  flags: 0,
  cpu: 0,
  batchSize: 0
} as const

/** The hint of a call as its handler gives it. */
const hintOf = (call: keyof typeof own): Hints.Hint => {
  switch (call) {
    case "MapCreate":
      return Hints.mapCreate(plainMap, false, 4096)
    case "ProgLoad":
      return Hints.progLoad(attributes, "")
    case "ProgTestRun":
      return Hints.testRun(run)
    default:
      return Hints.ofCall[call]
  }
}

const calls = Object.keys(own).filter((name): name is keyof typeof own => name in own)

/** The calls and numbers for which there is no hint. */
const silent = (of: (call: keyof typeof own) => Hints.Hint): ReadonlyArray<string> =>
  calls.flatMap((call) =>
    [...always, ...own[call]].flatMap((errno) => (of(call)(errno) ?? "") === "" ? [`${call} ${errno}`] : [])
  )

describe("hints of error numbers", () => {
  it("there is one for every call and every number that it may answer", () => {
    assert.deepStrictEqual(silent(hintOf), [])
  })

  it("named fault: a table without one is noticed", () => {
    const holed = (call: keyof typeof own): Hints.Hint => (errno) =>
      call === "MapUpdate" && errno === "EEXIST" ? undefined : hintOf(call)(errno)
    assert.deepStrictEqual(silent(holed), ["MapUpdate EEXIST"])
  })

  it("those of a command differ, where the manual page tells the numbers apart", () => {
    for (const call of calls) {
      const texts = own[call].map((errno) => hintOf(call)(errno))
      assert.strictEqual(new Set(texts).size, texts.length, call)
    }
  })

  it("of a link that finds nobody names the process, which may have ended, as well as the functions", () => {
    assert.match(Hints.ofCall.LinkCreate("ESRCH") ?? "", /the process has ended, or one of the functions/)
  })

  it("say what the arguments tell", () => {
    const ring = { ...plainMap, type: MapType.BPF_MAP_TYPE_RINGBUF, keySize: 0, valueSize: 0, maxEntries: 5000 }
    assert.match(Hints.mapCreate(ring, false, 4096)("EINVAL") ?? "", /a power of two and a multiple of .* 4096/)
    assert.match(Hints.mapCreate({ ...plainMap, maxEntries: 0 }, false, 4096)("EINVAL") ?? "", /max_entries is 0/)
    assert.match(Hints.progLoad(attributes, "")("EINVAL") ?? "", /program type xdp, attach type 0/)
    assert.isUndefined(Hints.progLoad(attributes, "R0 !read_ok")("EACCES"))
    assert.match(Hints.testRun({ ...run, dataIn: new Uint8Array(3) })("EINVAL") ?? "", /14 bytes, this one has 3/)
  })
})

describe("errors of calls", () => {
  it("name command, object and number, with the hint", () => {
    for (const call of calls) {
      for (const errno of [...always, ...own[call]]) {
        const errors = [refused(call, "the object", ErrnoTable.numbers[errno])]
        if (call !== "Borrow") errors.push(Refuse.refused(call, "the object", errno))
        for (const error of errors) {
          const [first, second] = error.message.split("\n")
          // 524 and 95 are told apart; 11 has one name only.
          assert.strictEqual(first, `${call} of the object: the kernel answers ${errno}`)
          assert.strictEqual(second, error.hint === undefined ? undefined : `hint: ${error.hint}`)
          if (Hints.ofCall[call] !== Hints.general || always.includes(errno)) assert.isDefined(error.hint)
        }
      }
    }
  })

  it("give numbers without a name as they are", () => {
    assert.strictEqual(fromErrno("MapCreate", "m", 4000).message, "MapCreate of m: the kernel answers EIO 4000")
    assert.instanceOf(fromErrno("MapCreate", "m", 5), KernelError)
    assert.strictEqual(fromErrno("MapCreate", "m", 5).message, "MapCreate of m: the kernel answers EIO")
  })
})
