/** The documents of what operators do with programs and maps: queues, pins, statistics. */
import * as Schema from "effect/Schema"
import * as Field from "./Field.ts"
import { typeName } from "./Prog.ts"
import type { ByCommand } from "./Published.ts"

const nothing = (description: string) => ({ description, schema: Field.nothing })

/** A value that was in a queue. */
const Value = Schema.Struct({
  key: Field.hexBytes("No bytes: queues have no keys."),
  value: Field.hexBytes("The bytes of the value."),
  formatted: Field.maybe(
    Schema.Struct({ value: Field.any("The value by the map's types.") })
      .annotate({ description: "What it is by the map's types, where it has some." })
  )
}).annotate({ description: "A value." })

const taken = (description: string) => ({
  description: `${description} Keys are those of bpftool; null where there is none, with exit status 1.`,
  schema: Field.orNull(Value)
})

const Ran = Schema.Struct({
  id: Field.count("The program's identifier."),
  type: typeName("Its type."),
  name: Field.text("Its name, whole where the types of the program have it."),
  tag: Field.text("A hash of the instructions: 16 hexadecimal digits."),
  run_cnt: Field.exact("How often it ran while it was watched."),
  run_time_ns: Field.exact("Nanoseconds that it ran in all."),
  average_ns: Field.orNull(Field.number("Nanoseconds of a run; null where it did not run.")),
  recursion_misses: Field.exact("How often it was not run since it ran already."),
  gone: Field.flag("Whether it was unloaded meanwhile; what it did after the last look is not told.")
}).annotate({ identifier: "Ran", title: "How a program ran" })

const stats = Schema.Struct({
  watched_ns: Field.exact("For how long programs were watched, nanoseconds."),
  bpf_stats_enabled: Field.orNull(
    Field.flag("Whether the kernel measures at all times (kernel.bpf_stats_enabled); null where it does not tell.")
  ),
  programs: Field.list(Ran, "The programs, those that took most time first.")
})

const Metric = Schema.Struct({
  metric: Field.text("What was counted, in bpftool's words; what it does not have in perf's, with underscores."),
  run_cnt: Field.exact("How often the program ran."),
  value: Field.exact("What was counted in all its runs; clocks are nanoseconds."),
  enabled: Field.exact("Nanoseconds for which the counter was to count."),
  running: Field.exact("Nanoseconds for which it did: less where counters take turns.")
}).annotate({ title: "A metric" })

const Done = Schema.Struct({
  command: Field.list(Schema.String, "The command in its words."),
  output: Field.any(
    "What it printed: its document, or a list of them where it prints several; the document of a failure where it failed; a text " +
      "where that is no document, such as help; null where it printed nothing."
  )
}).annotate({ title: "A command that was run" })

/** The documents. */
export const documents: ByCommand = {
  "map push": nothing("A value put into a queue, a stack or a bloom filter."),
  "map enqueue": nothing("The same as map push."),
  "map pop": taken("The value that was taken out of a queue or stack."),
  "map dequeue": taken("The same as map pop."),
  "map peek": taken("The value of a queue or stack that would be taken out next."),
  "map pin": nothing("A map given a name."),
  "map freeze": nothing("A map made read-only for user space."),
  "prog pin": nothing("A program given a name."),
  "batch file": {
    description:
      "The commands of a file, as far as they were run: to the end, or to the first that failed. Keys are bpftool's.",
    schema: Field.list(Done, "The commands in their order.")
  },
  "prog profile": {
    description: "What a program cost the processor while it was watched, by metric. Keys are bpftool's.",
    schema: Field.list(Metric, "The metrics in the order in which they were asked for.")
  },
  "prog attach": nothing("A program attached without a link."),
  "prog detach": nothing("A program detached that was attached without a link."),
  "prog tracelog": {
    description: "Lines that programs print, as they come: one list, which ends when the command does. As bpftool's.",
    schema: Field.list(Schema.String, "The lines, each with its end.")
  },
  "prog stats": { description: "How often and how long programs ran while they were watched.", schema: stats }
}
