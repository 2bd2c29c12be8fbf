/**
 * The schemas of all documents that the command prints with `--json`, by the command's words.
 *
 * For those who read the documents: `tools/schemas.ts` publishes them in `docs/schemas`, and tests hold each document that a
 * command prints against its schema. Commands themselves do without.
 */
import * as Btf from "./Btf.ts"
import * as BtfObjects from "./BtfObjects.ts"
import * as Budget from "./Budget.ts"
import * as Cgroup from "./Cgroup.ts"
import * as Core from "./Core.ts"
import * as Elf from "./Elf.ts"
import { failure } from "./Failure.ts"
import * as Feature from "./Feature.ts"
import * as Gen from "./Gen.ts"
import * as Inspect from "./Inspect.ts"
import * as Iter from "./Iter.ts"
import * as Kernel from "./Kernel.ts"
import * as Link from "./Link.ts"
import * as Map from "./Map.ts"
import * as Net from "./Net.ts"
import * as Operator from "./Operator.ts"
import * as Perf from "./Perf.ts"
import * as Plan from "./Plan.ts"
import * as Prog from "./Prog.ts"
import * as Run from "./Run.ts"
import * as StructOps from "./StructOps.ts"
import * as Token from "./Token.ts"
import * as Trace from "./Trace.ts"
import * as Usdt from "./Usdt.ts"
import type { ByCommand, Published } from "./Published.ts"

/** By command: `prog show`. A command without a verb is its one word: `inspect`. */
export const commands: ByCommand = {
  ...Inspect.documents,
  ...Plan.documents,
  ...Run.documents,
  ...Trace.documents,
  ...Prog.documents,
  ...Budget.documents,
  ...Map.documents,
  ...Link.documents,
  ...Btf.documents,
  ...BtfObjects.documents,
  ...Core.documents,
  ...Elf.documents,
  ...Feature.documents,
  ...Gen.documents,
  ...Kernel.documents,
  ...Operator.documents,
  ...Net.documents,
  ...Perf.documents,
  ...Iter.documents,
  ...Token.documents,
  ...Cgroup.documents,
  ...StructOps.documents,
  ...Usdt.documents
}

export { failure }

/** All that is published, by the words that the files are called after. */
export const published: Readonly<Record<string, Published>> = { ...commands, failure }
