/**
 * Objects loaded for a kernel that lacks features, by us and by libbpf 1.5: both are told the same of the running kernel, and
 * what they send to it must be the same: BTF byte for byte, instructions, names, attach types, records.
 */
import { type Feature, features, ofRelease } from "../../src/services/Kernel/Feature.ts"
import { pretended } from "./Lacking.ts"
import { loadDifferences } from "./LoadedBeside.ts"
import { loadOurs, type LoadOptions } from "./LoadOurs.ts"
import type { CallDifference } from "./Normalise.ts"
import * as Peer from "./Peer.ts"

/** The features by which libbpf 1.5 changes what it sends. */
export const deciding: ReadonlyArray<Feature> = [
  "ProgName",
  "GlobalData",
  "Btf",
  "BtfFunc",
  "BtfDatasec",
  "BtfGlobalFunc",
  "ArrayMmap",
  "ExpectedAttachType",
  "ProbeReadKernel",
  "ProgBindMap",
  "BtfFloat",
  "BtfDeclTag",
  "BtfTypeTag",
  "BtfEnum64",
  "UprobeMultiLink",
  "ArgCtxTag",
  "BtfQmarkDatasec"
]

/** Those of them that a release lacks. */
export const lackedBy = (release: string): ReadonlyArray<Feature> =>
  features.filter((feature) => deciding.includes(feature) && ofRelease(release)?.[feature] === false)

/** A way in which we do not send what libbpf does. */
interface Exception {
  readonly reason: string
  readonly explains: (difference: CallDifference, lacked: ReadonlyArray<Feature>) => boolean
}

const table = {
  globalData: {
    reason: "programs that use variables where the kernel has none are refused by name where they reach one; libbpf " +
      "sends the number of a map that was not created",
    explains: ({ at, field, libbpf, ours }, lacked) =>
      lacked.includes("GlobalData") && at.startsWith("PROG_LOAD") &&
      (field === "map_references" ? /=null/.test(libbpf) : field === "insn" && /^\d+: 85000000.{6}77$/.test(ours))
  },
  withoutBtf: {
    reason: "struct_ops without BTF is refused when the plan is made; libbpf gives up when it comes to load its BTF",
    explains: ({ field, libbpf, ours }) =>
      field === "failure" && ours.startsWith("plan fails: PlanError StructOps") && libbpf.includes("BTF is mandatory")
  }
} as const satisfies Readonly<Record<string, Exception>>

/** The name of an exception. */
export type ExceptionName = keyof typeof table

/** What differs on purpose only where features are missing; the rest is told in `LoadedBeside`. */
export const exceptions: Readonly<Record<ExceptionName, Exception>> = table

/** Which exception a difference is, if it is one. */
export const whichException = (
  difference: CallDifference,
  lacked: ReadonlyArray<Feature>
): ExceptionName | undefined =>
  (Object.keys(table) as ReadonlyArray<ExceptionName>).find((name) => exceptions[name].explains(difference, lacked))

/** A difference by command and field: calls have no names where the kernel takes none. */
const kindOf = ({ at, field }: CallDifference): string => `${at.split(" ")[0]} ${field}`

/** One object, loaded by both. */
export interface Beside {
  readonly libbpf: Peer.Loaded
  readonly differences: ReadonlyArray<CallDifference>
}

/** Loads an object as for a kernel without these features. */
export const loadBoth = async (
  bytes: Uint8Array,
  lacked: ReadonlyArray<Feature>,
  { only, path, pinRoot }: LoadOptions,
  afterEach: () => void
): Promise<Beside> => {
  const args = [
    ...(pinRoot === undefined ? [] : ["--pin-root", pinRoot]),
    ...(only === undefined ? [] : ["--only", only])
  ]
  const libbpf = Peer.load(path, args, "1.5", pretended(lacked))
  afterEach()
  const ours = await loadOurs(bytes, {
    path,
    without: lacked,
    ...(pinRoot === undefined ? {} : { pinRoot }),
    ...(only === undefined ? {} : { only })
  })
  afterEach()
  return { libbpf, differences: loadDifferences(ours, libbpf) }
}

/** The differences that are there because of the missing features: not those that a kernel with all of them shows too. */
export const becauseOf = (whole: Beside, { differences }: Beside): ReadonlyArray<CallDifference> => {
  const anyway = new Set(whole.differences.map(kindOf))
  return differences.filter((difference) => !anyway.has(kindOf(difference)))
}

/** A difference, for people. */
export const show = ({ at, field, libbpf, ours }: CallDifference): string =>
  `${at}: ${field} is ${ours}, libbpf has ${libbpf}`.slice(0, 1000)
