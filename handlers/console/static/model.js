// What a session is after each of its events: the page's fold of the log, by the rules of the server's.

// The stages, in the order of a dish's cells.
export const stages = ["translation", "description", "allergen", "ingredient", "search_engine", "task6", "task7", "task8"];

export const answered = (stage) => stage.status !== "pending" && stage.status !== "retrying";

// data returns what a stage found out about a dish, or null.
export const data = (dish, stage) => dish.stages[stage].result?.data ?? null;

export class Session {
  title = "";
  source = "";
  target = "";
  itemCount = 0;
  status = "waiting"; // then processing, completed, expired or erased
  durationMS = 0;
  dishes = new Map(); // by menu_id, in the order of the menu
  answers = 0; // dishes × stages that have their answer, also those that failed
  failures = 0;

  // apply folds one event of the log and returns the ids of the dishes that changed.
  apply({ type, data }) {
    const [lane, name] = type.split(".");
    if (lane === "menu") return this.#menu(name, data);
    if (lane === "image") return this.#image(name, data);
    if (!stages.includes(lane)) return [];
    switch (name) {
      case "completed":
        return this.#change(lane, data.results.map((r) => r.menu_id), (stage, i) => {
          const { epoch, attempt, result } = data.results[i];
          if (epoch !== stage.epoch || answered(stage)) return null;
          return { status: result.status, epoch, attempts: attempt, result };
        });
      case "attempt_failed":
        return this.#change(lane, data.menu_ids, (stage) => {
          if (data.epoch !== stage.epoch || answered(stage)) return null;
          return { ...stage, status: "retrying", attempts: data.attempt, reason: data.reason };
        });
      case "failed":
        return this.#change(lane, data.menu_ids, (stage) => {
          if (data.epoch !== stage.epoch || answered(stage)) return null;
          return { status: "failed", epoch: data.epoch, attempts: data.attempts, reason: data.reason, error: data.error };
        });
      case "retry_requested":
        return this.#change(lane, data.menu_ids, (stage) => {
          if (stage.status !== "failed" || data.epoch !== stage.epoch + 1) return null;
          return { status: "pending", epoch: data.epoch };
        });
      default:
        return [];
    }
  }

  // fromRows takes the state from the rows, for a session whose events are no longer there.
  fromRows(session, menus) {
    Object.assign(this, { title: session.title, status: session.status, itemCount: session.items });
    for (const row of menus) {
      this.#add({ ...row, menu_id: row.id });
      if (row.gen_image) this.dishes.get(row.id).image = { status: "completed", epoch: 0, ready: true };
      const columns = {
        translation: { translation: row.translation, category_translation: row.category_translation },
        description: { description: row.description },
        allergen: row.allergy,
        ingredient: row.ingredient,
        search_engine: row.search_engine,
        task6: row.task6_data,
        task7: row.task7_data,
        task8: row.task8_data,
      };
      for (const lane of stages) {
        const state = row.stages?.[lane];
        if (!state) continue;
        this.#change(lane, [row.id], () => ({
          status: state.status, epoch: state.epoch ?? 0, attempts: state.attempts, reason: state.reason, error: state.error,
          result: { ...state, data: columns[lane] },
        }));
      }
    }
  }

  #menu(name, data) {
    switch (name) {
      case "submitted":
        Object.assign(this, { title: data.title, source: data.source_language, target: data.target_language, itemCount: data.item_count });
        if (this.status === "waiting") this.status = "processing";
        for (const item of data.items) this.#add(item);
        return data.items.map((item) => item.menu_id);
      case "completed":
        if (this.answers < this.itemCount * stages.length) return []; // a retry came in between; the next round closes it
        this.status = "completed";
        this.durationMS = data.duration_ms;
        return [];
      case "expired":
        if (this.status === "processing") this.status = "expired";
        return [];
      case "erased":
        this.status = "erased";
        this.dishes.clear();
        this.answers = this.failures = 0;
        return [];
      default:
        return [];
    }
  }

  // The picture of a dish is no stage: nobody waits for it until it is asked for.
  #image(name, data) {
    const dish = this.dishes.get(data.menu_id);
    if (!dish || data.epoch < (dish.image?.epoch ?? 0)) return [];
    dish.image = { ...data, status: name, ready: name === "completed" || Boolean(dish.image?.ready) };
    return [dish.id];
  }

  #add(item) {
    if (this.dishes.has(item.menu_id)) return;
    const dish = { id: item.menu_id, position: item.position, name: item.name, category: item.category ?? "", price: item.price ?? "", image: null, stages: {} };
    for (const stage of stages) dish.stages[stage] = { status: "pending", epoch: 0 };
    this.dishes.set(dish.id, dish);
  }

  #change(lane, ids, fn) {
    const changed = [];
    ids.forEach((id, i) => {
      const dish = this.dishes.get(id);
      const before = dish?.stages[lane];
      const after = dish && fn(before, i);
      if (!after) return;
      dish.stages[lane] = after;
      this.answers += Number(answered(after)) - Number(answered(before));
      this.failures += Number(after.status === "failed") - Number(before.status === "failed");
      changed.push(id);
    });
    if (changed.length > 0 && this.status === "completed" && this.answers < this.itemCount * stages.length) this.status = "processing";
    return changed;
  }
}
