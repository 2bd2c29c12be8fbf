/**
 * The tables of releases, held against a kernel that was tried: what they say is newer it does not have, and what they say it
 * has is there, but for what its configuration leaves out.
 */
import * as Result from "effect/Result"
import * as Btf from "../../src/btf/Btf.ts"
import { isRemovedIn, kfuncReleases, moduleOfKfunc, ofKfunc } from "../../src/diagnostics/requirements/KfuncReleases.ts"
import { isLate, ofHelper, ofHelperIn } from "../../src/diagnostics/requirements/HelperReleases.ts"
import { isIn } from "../../src/diagnostics/requirements/Release.ts"
import * as Types from "../../src/diagnostics/requirements/TypeReleases.ts"
import { helperCount, helperName } from "../../src/insn/Helpers.ts"
import { AttachType, MapType, mapTypeName, ProgType, progTypeName } from "../../src/services/Kernel/abi/BpfConstants.ts"
import { descriptions, features, inRelease, type Support } from "../../src/services/Kernel/Feature.ts"
import type { FeatureReport } from "../../src/services/Kernel/FeatureReport.ts"
import * as Facts from "../../src/services/Kernel/live/Facts.ts"

/** What kernels lack although their release has it: by what it is, the series of kernels, and why. */
const lacking: ReadonlyArray<readonly [what: RegExp, on: ReadonlyArray<string>, because: string]> = [
  [
    /^(program type lirc_mode2|attach type BPF_LIRC_MODE2|helper bpf_rc_\w+)$/,
    ["6.1", "6.12", "6.18"],
    "CONFIG_BPF_LIRC_MODE2"
  ],
  [/^helper bpf_override_return$/, ["6.1", "6.12", "6.18"], "CONFIG_BPF_KPROBE_OVERRIDE"],
  [
    /^helper bpf_(bprm_opts_set|ima_(file|inode)_hash|inode_storage_(get|delete)|get_func_(arg|ret|arg_cnt)|seq_\w+)$/,
    ["6.1", "6.12", "6.18"],
    "for tracing and LSM programs alone, which are not tried without a target"
  ],
  [/^helper bpf_tcp_send_ack$/, ["6.1", "6.12", "6.18"], "for struct_ops programs alone, which are not tried"],
  [/^helper bpf_probe_write_user$/, ["6.18"], "a policy of the running kernel refuses it"],
  [/^attach type BPF_TRACE_KPROBE_MULTI$/, ["6.1", "6.18"], "CONFIG_FPROBE"],
  [/^attach type BPF_TRACE_KPROBE_SESSION$/, ["6.18"], "CONFIG_FPROBE"],
  [/^attach type BPF_NETKIT_(PRIMARY|PEER)$/, ["6.18"], "CONFIG_NETKIT"],
  [/^function bpf_get_fsverity_digest$/, ["6.18"], "CONFIG_FS_VERITY"],
  [/^function (bpf_iter_)?scx_\w+$/, ["6.12", "6.18"], "CONFIG_SCHED_CLASS_EXT"],
  [/^function bpf_(qdisc_\w+|skb_get_hash|kfree_skb)$/, ["6.18"], "CONFIG_NET_SCH_BPF"],
  [
    /^helper bpf_[gs]etsockopt of cgroup_sockopt$/,
    ["6.1", "6.12", "6.18"],
    "for setsockopt alone, and tried as getsockopt"
  ],
  [/^function crash_kexec$/, ["6.18"], "CONFIG_CRASH_DUMP"]
]

/** The functions of the running kernel's types. */
export const runningFunctions = (): ReadonlySet<string> => {
  const types = Result.getOrThrow(Facts.make().vmlinux())
  return functionsOf(types)
}

/** The functions of a kernel's types. */
export const functionsOf = (types: Btf.Btf): ReadonlySet<string> =>
  new Set(Array.from(Btf.idsOfKind(types, Btf.BTF_KIND_FUNC), (id) => Btf.nameOf(types, id)))

/** What the tables say that a kernel shows to be wrong. */
export const compare = (report: FeatureReport, functions: ReadonlySet<string>) => {
  const { release } = report
  const series = release.split(".").slice(0, 2).join(".")
  const wrong: Array<string> = []
  let compared = 0
  let excepted = 0
  const judge = (what: string, said: boolean | undefined, has: boolean): void => {
    if (said === undefined) return
    compared++
    if (said === has) return
    const exception = said && lacking.some(([names, on]) => names.test(what) && on.includes(series))
    if (exception) excepted++
    else wrong.push(`${what}: ${said ? "it should be there" : "it is there before its time"}`)
  }
  const isThere = (support: Support | undefined): boolean => support?._tag === "Supported"
  const wasTried = (support: Support | undefined): boolean => support !== undefined && support._tag !== "Refused"
  for (const type of Object.values(ProgType)) {
    const support = report.programTypes.get(type)
    if (type === 0 || !wasTried(support)) continue
    judge(`program type ${progTypeName(type)}`, isIn(Types.ofProgramType(type), release), isThere(support))
  }
  for (const type of Object.values(MapType)) {
    const support = report.mapTypes.get(type)
    if (type === 0 || !wasTried(support)) continue
    judge(`map type ${mapTypeName(type)}`, isIn(Types.ofMapType(type), release), isThere(support))
  }
  for (const [symbol, type] of Object.entries(AttachType)) {
    const support = [...report.attachTypes].find(([name]) => name === symbol)?.[1]
    if (!wasTried(support)) continue
    judge(`attach type ${symbol}`, isIn(Types.ofAttachType(type), release), isThere(support))
  }
  for (const feature of features) {
    const support = report.features.get(feature)
    if (!wasTried(support)) continue
    judge(`feature ${descriptions[feature].name}`, inRelease(feature, release), isThere(support))
  }
  const tried = [...report.helpers].flatMap(([type, answers]) =>
    answers._tag === "Probed" ? [[type, answers.answers] as const] : []
  )
  for (let id = 1; id < helperCount; id++) {
    const name = `helper ${helperName(id)}`
    const anywhere = tried.some(([, answers]) => isThere(answers.get(id)))
    judge(name, isIn(ofHelper(id), release), anywhere)
    for (const [type, answers] of tried) {
      const has = isThere(answers.get(id))
      const said = isIn(ofHelperIn(id, type), release)
      // Types that a helper is not for have it never; those that got it late are told one by one.
      if (has || isLate(id, type)) judge(`${name} of ${progTypeName(type)}`, said, has)
    }
  }
  for (const name of kfuncReleases.keys()) {
    const has = functions.has(name)
    // A module's are not among the kernel's own types.
    if (!has && (moduleOfKfunc(name) !== undefined || isRemovedIn(name, release))) continue
    judge(`function ${name}`, isIn(ofKfunc(name), release), has)
  }
  return {
    wrong,
    counts:
      `${compared} statements of the tables on ${series}: ${excepted} excepted for the configuration, ${wrong.length} wrong`
  }
}
