// Names for the codes of the API, in English and Japanese.

export const allergens = {
  shrimp: ["shrimp", "えび"], crab: ["crab", "かに"], crustacean: ["other crustaceans", "その他の甲殻類"],
  walnut: ["walnut", "くるみ"], cashew: ["cashew", "カシューナッツ"], almond: ["almond", "アーモンド"], pistachio: ["pistachio", "ピスタチオ"],
  macadamia: ["macadamia", "マカダミアナッツ"], hazelnut: ["hazelnut", "ヘーゼルナッツ"], pecan: ["pecan", "ペカンナッツ"],
  brazil_nut: ["Brazil nut", "ブラジルナッツ"], pine_nut: ["pine nut", "松の実"],
  wheat: ["wheat", "小麦"], barley: ["barley", "大麦"], rye: ["rye", "ライ麦"], oats: ["oats", "オーツ麦"], buckwheat: ["buckwheat (soba)", "そば"],
  egg: ["egg", "卵"], milk: ["milk", "乳"], peanut: ["peanut", "落花生"],
  abalone: ["abalone", "あわび"], squid: ["squid", "いか"], mollusc: ["shellfish, octopus", "貝類・たこ等"],
  salmon_roe: ["salmon roe", "いくら"], salmon: ["salmon", "さけ"], mackerel: ["mackerel", "さば"], fish: ["fish", "魚類"],
  orange: ["orange", "オレンジ"], kiwifruit: ["kiwi", "キウイ"], banana: ["banana", "バナナ"], peach: ["peach", "もも"], apple: ["apple", "りんご"],
  beef: ["beef", "牛肉"], chicken: ["chicken", "鶏肉"], pork: ["pork", "豚肉"], gelatin: ["gelatin", "ゼラチン"],
  sesame: ["sesame", "ごま"], soybean: ["soy", "大豆"], yam: ["Japanese yam", "やまいも"],
  celery: ["celery", "セロリ"], mustard: ["mustard", "からし"], lupin: ["lupin", "ルピナス"], sulphites: ["sulphites", "亜硫酸塩"],
};

// What a guest picks as "my allergens", each with the codes that it stands for. Every code belongs to a choice: a guest
// who avoids fish avoids mackerel.
export const choices = [
  ["egg", ["egg"]], ["milk", ["milk"]], ["wheat", ["wheat"]], ["gluten", ["wheat", "barley", "rye", "oats"]], ["buckwheat", ["buckwheat"]],
  ["peanut", ["peanut"]], ["nuts", ["walnut", "cashew", "almond", "pistachio", "macadamia", "hazelnut", "pecan", "brazil_nut", "pine_nut"]],
  ["crustaceans", ["shrimp", "crab", "crustacean"]], ["molluscs", ["abalone", "squid", "mollusc"]],
  ["anyfish", ["fish", "salmon", "mackerel", "salmon_roe"]], ["soybean", ["soybean"]], ["sesame", ["sesame"]],
  ["mustard", ["mustard"]], ["celery", ["celery"]], ["sulphites", ["sulphites"]], ["lupin", ["lupin"]],
  ["beef", ["beef"]], ["pork", ["pork"]], ["chicken", ["chicken"]], ["gelatin", ["gelatin"]], ["yam", ["yam"]],
  ["fruits", ["orange", "kiwifruit", "banana", "peach", "apple"]],
];

export const choiceNames = {
  ...allergens,
  gluten: ["gluten cereals", "グルテンを含む穀物"], nuts: ["tree nuts", "ナッツ類"], crustaceans: ["shrimp, crab", "えび・かに"],
  molluscs: ["shellfish, squid, octopus", "貝・いか・たこ"], anyfish: ["fish, also as stock", "魚（だしも）"],
  fruits: ["apple, peach, kiwi, banana, orange", "りんご・もも・キウイ・バナナ・オレンジ"],
};

// All other codes: laws, diets, verdicts, statuses, bases, reasons.
export const codes = {
  gluten: ["cereals with gluten", "グルテンを含む穀類"], crustaceans: ["crustaceans", "甲殻類"], eggs: ["eggs", "卵"], peanuts: ["peanuts", "落花生"],
  soybeans: ["soybeans", "大豆"], nuts: ["nuts", "ナッツ"], molluscs: ["molluscs", "軟体動物"], crustacean_shellfish: ["crustacean shellfish", "甲殻類"],
  tree_nuts: ["tree nuts", "木の実"],

  vegetarian: ["Vegetarian", "ベジタリアン"], vegan: ["Vegan", "ビーガン"], pescatarian: ["Pescatarian", "ペスカタリアン"],
  halal_concern: ["Halal concern", "ハラールの懸念"], kosher_concern: ["Kosher concern", "コーシャの懸念"], gluten_concern: ["Gluten concern", "グルテンの懸念"],
  dairy_free_concern: ["Dairy concern", "乳製品の懸念"], alcohol: ["Alcohol", "アルコール"], raw_fish: ["Raw fish", "生魚"], raw_meat: ["Raw meat", "生肉"], raw_egg: ["Raw egg", "生卵"],
  yes: ["yes", "はい"], no: ["no", "いいえ"], depends: ["depends", "場合による"], unknown: ["not known", "不明"],

  main: ["main", "主"], secondary: ["also", "副"], seasoning: ["seasoning", "調味料"], hidden: ["hidden", "名前に出ない"],
  classical: ["always", "定番"], usual: ["usually", "ふつう"], possible: ["possibly", "場合による"],

  hot: ["served hot", "温かい"], cold: ["served cold", "冷たい"], room: ["served at room temperature", "常温"],
  raw: ["raw", "生"], partly_raw: ["partly raw", "一部生"], cooked: ["cooked", "加熱済み"],

  exact: ["this dish is known", "知られている料理"], composed: ["put together from the name", "名前の部分から"], glossary: ["word list", "用語集"],
  category: ["only the heading is known", "見出しから"], model: ["a model's answer", "モデルの回答"], search: ["a search", "検索"],
  declared: ["the restaurant says so", "店の記載"], none: ["nothing", "なし"],

  error: ["error", "エラー"], timeout: ["took too long", "時間切れ"], invalid_result: ["the answer could not be used", "回答が不正"],
  too_large: ["the answer was too large", "回答が大きすぎる"], unreachable: ["the provider does not answer", "接続できない"], refused: ["refused", "拒否"],
};
