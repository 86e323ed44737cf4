"""Texts of the accuracy goldens: one word to past the 256-token limit, prose, questions, code, capitals, scripts, emoji.

Near-duplicates, paraphrases and opposites are in on purpose: similarities then spread from below 0 to almost 1.
"""

STORY = (
    "The harbour master kept three clocks on his wall, none of which agreed with the others. The first ran fast, so that "
    "captains would hurry; the second ran slow, so that he could finish his lunch; and the third had stopped on the "
    "morning his daughter sailed for Lisbon, and he had never found a reason to wind it again. Visitors asked him which "
    "one was right. He would look out at the tide, count the gulls on the breakwater, and answer that it was either too "
    "early or too late, depending on what they had come to say. "
)
MANUAL = (
    "Before opening the housing, disconnect the mains cable and wait five minutes for the capacitors to discharge. Remove "
    "the four screws at the rear, slide the cover backwards by two centimetres and lift it off. The filter sits behind the "
    "fan: press both latches inwards and pull. Wash it in lukewarm water without soap, let it dry completely, and put it "
    "back with the arrow pointing towards the motor. Never run the device without its filter. "
)
PAPER = (
    "We measured the decay of synchrony in coupled oscillators under sparse, time-varying connectivity. For each of 48 "
    "topologies we swept the coupling strength K from 0.1 to 4.0 in steps of 0.05 and recorded the order parameter r after "
    "10^4 cycles. Above K = 1.6 the ensemble locks within 200 cycles regardless of the rewiring rate; below it, rewiring "
    "faster than the natural frequency delays the loss of coherence by a factor of 3.2 (95% CI: 2.7-3.9). "
)

TEXTS = [
    # one word, or less
    "harbour",
    "harbor",
    "Mathematics",
    "blue",
    "yes",
    "no",
    "DNA",
    "x",
    "42",
    "?",
    "",
    # short phrases
    "strong black coffee",
    "weak green tea",
    "a cup of tea",
    "second-hand bicycle for sale",
    "used bike, good condition",
    "thunder and lightning",
    "prime minister",
    "the president of the country",
    "machine learning",
    "deep neural networks",
    "gradient descent optimisation",
    "fresh bread",
    "train timetable",
    # sentences in groups of near meaning
    "The cat slept on the warm windowsill all afternoon.",
    "All afternoon the cat was sleeping on the warm window sill.",
    "A dog slept on the cold kitchen floor all night.",
    "The kitten dozed in the sun by the window.",
    "He repaired the roof before the rain came.",
    "He did not repair the roof before the rain came.",
    "Before it started raining, he fixed the roof.",
    "The bank raised its interest rates by half a percent.",
    "Interest rates were increased by 0.5% by the bank.",
    "The bank of the river was covered with reeds.",
    "Our flight to Oslo was cancelled because of fog.",
    "Due to fog, the plane to Oslo did not leave.",
    "Our flight to Oslo left on time despite the fog.",
    "She plays the violin in the city orchestra.",
    "She used to play the cello in a string quartet.",
    "The violin was stolen from the concert hall.",
    "Antibiotics do not help against viruses.",
    "Viral infections cannot be cured with antibiotics.",
    "The virus spread through the company's mail server.",
    "Water boils at one hundred degrees Celsius at sea level.",
    "At sea level the boiling point of water is 100 °C.",
    "On a mountain, water boils at a lower temperature.",
    "The recipe needs two eggs, a cup of flour and a pinch of salt.",
    "Mix two eggs with one cup of flour and some salt.",
    "The new law bans plastic bags in supermarkets.",
    "Supermarkets may no longer hand out plastic bags.",
    "The goalkeeper saved a penalty in the last minute.",
    "In the final minute, the keeper stopped the penalty kick.",
    "The striker missed an open goal.",
    # questions and requests
    "How do I change the tyre of a bicycle?",
    "What is the way to replace a bike tire?",
    "How long does it take to learn to swim?",
    "Could you please send me the invoice again?",
    "Where is the nearest pharmacy that is open at night?",
    "Why is the sky blue and the sunset red?",
    "who wrote the first dictionary of the english language",
    "what time does the museum close on sundays",
    # opinion, slang, dialogue
    "This is by far the worst film I have seen this year.",
    "What a wonderful film, I could watch it again and again.",
    "The film was neither good nor bad.",
    "lol that was sooo funny i cant even",
    "idk man, gonna grab a burger, brb",
    '"I told you so," she said. "No, you did not," he answered.',
    # capitals and typography
    "DO NOT OPEN THIS DOOR WHILE THE TRAIN IS MOVING",
    "do not open this door while the train is moving",
    "FREE SHIPPING ON ALL ORDERS OVER $50!!!",
    "BrEaKiNg NeWs: LoCaL cAt ElEcTeD mAyOr",
    "wait... what?! no -- way!!!",
    "---===### * ###===---",
    "…«¿¡»…",
    # numbers, dates, data
    "3.14159265358979323846",
    "2023-11-05T14:48:00.000Z",
    "Tel. +44 20 7946 0018, Mon-Fri 9:00-17:30",
    "ISBN 978-3-16-148410-0",
    "Revenue: 12,4 Mio. EUR (+3,1 %), EBIT: 1,9 Mio. EUR",
    "192.168.0.1 - - [10/Oct/2000:13:55:36] \"GET /index.html HTTP/1.0\" 200 2326",
    # code
    "def fibonacci(n):\n    a, b = 0, 1\n    for _ in range(n):\n        a, b = b, a + b\n    return a",
    "function fib(n) { return n < 2 ? n : fib(n - 1) + fib(n - 2); }",
    "for (int i = 0; i < n; ++i) sum += a[i] * b[i];",
    "SELECT name, COUNT(*) FROM orders JOIN users USING (user_id) GROUP BY name HAVING COUNT(*) > 3;",
    "<ul class=\"nav\"><li><a href=\"/home\">Home</a></li></ul>",
    "git rebase --interactive HEAD~3 && git push --force-with-lease",
    "TypeError: Cannot read properties of undefined (reading 'length')",
    '{"id": 17, "tags": ["red", "green"], "price": 9.99, "stock": null}',
    "body { margin: 0; font: 16px/1.5 sans-serif; color: #333 }",
    "https://shop.example.net/items?id=4711&ref=mail#reviews",
    "C:\\Users\\anna\\Documents\\tax_return_2021.pdf",
    "E = mc^2, a^2 + b^2 = c^2, and sin(x)/x -> 1",
    # other languages in Latin script
    "Le train pour Marseille part dans dix minutes du quai numéro quatre.",
    "Der Zug nach Hamburg fährt in zehn Minuten von Gleis vier ab.",
    "El tren a Sevilla sale dentro de diez minutos del andén cuatro.",
    "Pociąg do Krakowa odjeżdża za dziesięć minut z peronu czwartego.",
    "Tàu đi Huế khởi hành sau mười phút nữa.",
    "İstanbul'a giden tren on dakika sonra kalkıyor.",
    # other scripts
    "Поезд в Москву отправляется через десять минут.",
    "Το τρένο για την Αθήνα φεύγει σε δέκα λεπτά. ΑΘΗΝΑΣ",
    "הרכבת לחיפה יוצאת בעוד עשר דקות.",
    "القطار إلى القاهرة يغادر بعد عشر دقائق.",
    "दिल्ली जाने वाली ट्रेन दस मिनट में छूटेगी।",
    "ঢাকার ট্রেন দশ মিনিট পরে ছাড়বে।",
    "சென்னை செல்லும் ரயில் பத்து நிமிடத்தில் புறப்படும்.",
    "รถไฟไปเชียงใหม่จะออกในอีกสิบนาที",
    "开往北京的火车十分钟后出发。",
    "東京行きの電車は十分後に出発します。",
    "부산행 기차는 십 분 후에 출발합니다.",
    "მატარებელი ბათუმში ათ წუთში გადის.",
    "Գնացքը դեպի Գյումրի մեկնում է տասը րոպեից։",
    # emoji and mixture
    "🎉🎂🥳 happy birthday!!! 🎈",
    "👍",
    "❤️💔 love and heartbreak",
    "Meeting @ 10am w/ Müller & 田中さん re: Q3-Budget (€1.2M) 🚀",
    # longer prose
    "The committee met for the third time on Thursday. It could agree neither on the budget nor on the date of the next "
    "meeting, and adjourned after twenty minutes.",
    "Although the expedition had planned for a winter of eight months, the ice held the ship for almost two years, and the "
    "men survived on seal meat, tinned soup and an endless supply of bad jokes.",
    "To reset your password, open the settings page, choose Security, click on Reset password and follow the link in the "
    "e-mail that we send you. The link is valid for thirty minutes.",
    "Tomatoes need at least six hours of direct sun a day, deep but infrequent watering, and a stake to lean on; pinch out "
    "the side shoots every week, and stop feeding once the fruit begins to colour.",
    STORY,
    STORY.replace("three clocks", "four clocks").replace("Lisbon", "Boston"),
    MANUAL,
    PAPER,
    STORY + MANUAL,
    PAPER + PAPER.replace("48", "96") + "The raw data and the analysis code are available on request.",
    # past the limit of 256 tokens: the end may not matter
    STORY + MANUAL + PAPER,
    STORY + MANUAL + PAPER + STORY,
    "la " * 400,
]
