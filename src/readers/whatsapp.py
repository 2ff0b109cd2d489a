"""WhatsApp's "Export chat": one text file a chat, alone or in a zip with its media.

Android, `WhatsApp Chat with Mara.txt`:

    12/03/2023, 21:04 - Messages and calls are end-to-end encrypted. No one outside of this chat ...
    12/03/2023, 21:04 - Theo changed the subject from "a: b" to "c"
    12/03/2023, 21:05 - Mara: You sound tired.
    12/03/2023, 21:05 - Theo: long day
    but a good one
    12/03/2023, 21:06 - Theo: IMG-20230312-WA0004.jpg (file attached)
    the view from up there

iPhone, `_chat.txt` in `WhatsApp Chat - Mara.zip` (<LRM> is U+200E, the left-to-right mark):

    [12.03.23, 21:05:10] Mara: You sound tired.
    <LRM>[12.03.23, 21:05:31] Theo: the view from up there <LRM><attached: 00000004-PHOTO-2023-03-12-21-05-31.jpg>
    [12.03.23, 21:05:40] Mara: <LRM>Missed voice call

How dates, names and WhatsApp's own words look is up to the phone's language; nothing says which. So evidence decides:

- A line that starts with a date and time starts a message; any other line, a blank one too, belongs to the message before it.
- Day and month: per style of header, the order that makes the fewest impossible dates, then the fewest before 2009 (when WhatsApp
  began), then the fewest steps back in time; if that leaves a tie, day first, and the user is told.
- A chat or a timetable pasted into a message brings headers of its own. Those in a shape no export has (no year, time first) are text
  anyway. A run of headers in another style than the file's, or of times more than a day back, may be pasted, the file switching style
  (exports put end to end), or messages that arrived late. It is pasted if the file comes back from it, in at most LONGEST messages,
  and either there is a name in it that is nowhere else and no time in it is over a day later than the message it stands in; or the
  style is another and no time is later at all. At the end of the file it is pasted if all of that is so. A leap of over a day ahead
  from which the file comes back is pasted if all names in it are nowhere else. Otherwise the lines are messages.
- The name ends at the first colon with a blank behind it; at the first colon at all in files where hardly any colon has one
  (`Bob:Hi`). In the first sort `John Doe:.` is no message. Where whatever follows a name always starts with the same words and
  a second colon, as in `Dr: House: hi`, they are of the name. What stands before a colon once or twice, and has an open quotation
  mark or the words of a system line in it, is no name.
- On iPhones a body that starts with U+200E is WhatsApp's own words, in any language.

Times are as the phone showed them, to the minute or second, taken as UTC. Messages keep the order of the file.
"""
import functools
import re
from collections import Counter
from datetime import date

from ..dialogue import Turn
from . import DELETED, EMPTY, MEDIA, SYSTEM, UNREADABLE, Thread

NAME = 'whatsapp'
POLLS = 'polls'
DAY = 86_400_000                                        # milliseconds
LONGEST = 200                                           # messages in a pasted chat
LONGEST_NAME = 100                                      # characters
FIRST_YEAR = 2009                                       # WhatsApp's
MARKS = '\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\ufeff'  # left-to-right mark and its kin, invisible
BLANKS = ' \u00a0\u202f\u2009'                          # U+202F stands before AM and PM since 2023

_AFTER_NAME = {'', '\n', *BLANKS}
_M, _S = f'[{MARKS}]{{0,3}}', f'[{BLANKS}]'
_WORD = r'[^\W\d_][^\d\[\]:\n–—-]{0,20}?'               # of one or two parts: p. m., a las
HEADER = re.compile(
    rf'{_M}(\[)?{_M}'
    rf'(\d{{1,4}}){_M}([./-]){_S}?{_M}(\d\d?){_M}\3{_S}?{_M}(\d{{1,4}})\.?(?:{_S}BE)?{_M}'    # 1/31/23  31.1.2023  2023. 1. 31.  1/31/2566 BE
    rf'(?:[,،]{_S}*|{_S}+){_M}(?:({_WORD}){_S}*)?'                                              # , or blank; 下午 or klo
    rf'(\d\d?)[:.](\d\d)(?:[:.](\d\d))?(?:{_S}*({_WORD}))?{_M}'                                 # 9:05  21.05.10  9:05 p. m.
    rf'(?(1)\]{_S}?|(?:{_S}+[-–—]|:)(?:{_S}|$))', re.M)

_AM = 'am πμ ص قظ sa öö de प्रातः पूर्वाह्न 上午 午前 오전 早上 凌晨 清晨 vorm fm ap pg inthemorning'
_PM = 'pm μμ م بظ ch ös du अपराह्न 下午 午後 오후 中午 晚上 傍晚 nachm em ip ptg intheafternoon intheevening'
HALVES = {None: '', **dict.fromkeys(_AM.split(), 'am'), **dict.fromkeys(_PM.split(), 'pm'),
          **dict.fromkeys('半夜 深夜 atnight'.split(), 'night'), **dict.fromkeys('klo kl um à às at alle alas'.split(), 'link')}   # klo 21.25

# ---- what WhatsApp writes in the place of words, by language


def _phrases(text):
    """{phrase}: of a list with commas and line ends between, as `_plain` makes them."""
    return {_plain(phrase) for phrase in re.split(r'[,\n]', text) if phrase.strip()}


def _plain(text):
    """Without marks, brackets, final stop and capitals."""
    return (text if text.isascii() else text.translate(_CLEAN)).strip(' <>.。।').casefold()


_CLEAN = {**dict.fromkeys(map(ord, MARKS)), **dict.fromkeys(map(ord, BLANKS), ' ')}

# Android, in <>, whatever the medium; the medium's caption, or a document's name, follows on the next lines.
OMITTED = _phrases('''
    media omitted, video note omitted, view once voice message omitted, voice message omitted, voice call omitted
    Medien ausgeschlossen, Medien weggelassen, Medien ausgelassen, Videonachricht ausgeschlossen, Videonotiz ausgelassen
    Multimedia omitido, Archivo omitido, Medios omitidos, nota de video omitida, Mitjans omesos
    Médias omis, Média omis, Fichier omis, note vidéo omise, Media omesso, Media omessi, nota video omessa, File multimediale omesso
    Mídia oculta, Mídia omitida, Arquivo de mídia oculto, Ficheiro não revelado, Ficheiro omitido, Multimédia omitida, nota de vídeo omitida
    Media weggelaten, Media weggelaat, Mediefil udeladt, Medier udeladt, Media har utelämnats, Media utelämnad, Uten vedlegg, Medier utelatt
    Media jätetty pois, Meedia ära jäetud, Bez multivides, Praleistas medijos turinys, pominięto multimedia, pliki pominięto, Pominięto plik
    Média vynechána, Média vynechány, Médiá vynechané, Hiányzó médiafájl, Médiafájl kihagyva, Conținut media omis, Fișier media omis
    Medijski zapis izostavljen, Medij izpuščen, Εξαίρεση πολυμέσων, Παράλειψη πολυμέσων
    Без медиафайлов, Файл пропущен, Медіа пропущено, Медіафайл пропущено, Без файл, Без фајл, Файл қосылған жоқ, Medya dahil edilmedi
    Medya atlanmış, Medya çıkarıldı, Media çıxarılmışdır, Media tidak disertakan, Media disingkirkan, Pa media, Media imerukwa
    Walang kalakip na media, Bỏ qua Media, מדיה הושמטה, המדיה לא נכללה, תוכן המדיה הושמט, تم استبعاد الوسائط, ملفات مفقودة, میڈیا چھوڑ دیا گیا
    मीडिया के बिना, मीडिया वगळले, মিডিয়া বাদ দেওয়া হয়েছে, મીડિયા અવગણાયું, ਮੀਡੀਆ ਛੱਡਿਆ ਗਿਆ, మాధ్యమం విస్మరించబడింది, ಮೀಡಿಯಾ ಕೈಬಿಡಲಾಗಿದೆ
    മീഡിയ ഒഴിവാക്കി, ஊடகங்கள் நீக்கப்பட்டது, สื่อถูกลบ, メディアは含まれていません, メディアなし, 미디어 파일을 생략한 대화내용, 미디어 파일 제외됨
    省略多媒体文件, 忽略多媒體檔, 媒体文件已省略, 已省略多媒體檔案
''')

# iPhone, for each medium; the whole body, or behind a caption and U+200E.
DOCUMENT_OMITTED = _phrases('''
    document omitted, Dokument weggelassen, documento omitido, documento omesso, documento não revelado, document manquant, document weggelaten
    dokument udeladt, dokument uteslutet, utelatt dokument, dokumenttia ei sisällytetä, dokument pominięty, dokument vynechán, dokument vynechaný
    dokumentum kihagyva, document omis, document omès, dokument izostavljen, έγγραφο παραλείφθηκε, документ отсутствует, документ пропущено
    belge dahil edilmedi, dokumen tidak disertakan, dokumen tidak dimasukkan, đã bỏ qua tài liệu, ละเว้นเอกสาร, מסמך הושמט
    لم يتم إدراج المستند, سند حذف شد, دستاویز نظرانداز, डॉक्यूमेंट छोड़ा गया, डॉक्युमेंट वगळले, ডকুমেন্ট বাদ দেওয়া হয়েছে, ドキュメントは含まれていません
    문서 생략됨, 文档已省略, 文件已略去, 文件已忽略
''')
_DOCUMENT_ENDS = tuple(' ' + phrase for phrase in DOCUMENT_OMITTED)    # `Plan.pdf • 2 pages document omitted`
MISSING = DOCUMENT_OMITTED | _phrases('''
    image omitted, video omitted, audio omitted, sticker omitted, GIF omitted, contact card omitted, video note omitted, voice message omitted
    Bild weggelassen, Video weggelassen, Audio weggelassen, Sticker weggelassen, GIF weggelassen, Kontaktkarte ausgelassen
    Videonachricht weggelassen, Kontaktkarte weggelassen
    imagen omitida, video omitido, audio omitido, sticker omitido, GIF omitido, tarjeta de contacto omitida, nota de video omitida
    image absente, vidéo absente, audio omis, sticker omis, GIF retiré, fiche contact manquante, note vidéo omise
    immagine omessa, video omesso, audio omesso, sticker non incluso, GIF esclusa, scheda contatto omessa, videomessaggio omesso
    imagem ocultada, vídeo ocultado, vídeo omitido, áudio ocultado, figurinha omitida, cartão do contato omitido
    imagem não revelada, vídeo não revelado, ficheiro de áudio não revelado, sticker não revelado, GIF não revelada, contacto não revelado
    afbeelding weggelaten, video weggelaten, audio weggelaten, sticker weggelaten, GIF weggelaten, visitekaartje weggelaten
    billede udeladt, video udeladt, lyd udeladt, klistermærke udeladt, GIF udeladt, kontaktkort udeladt
    bild utesluten, video utesluten, ljud utelslutet, ljud uteslutet, sticker utesluten, GIF utesluten, kontaktkort uteslutet
    bilde ikke inkludert, video utelatt, lyd utelatt, klistremerke utelatt, GIF utelatt, kontaktkort sløyfet
    ei kuvaa, videota ei sisällytetä, äänitiedostoa ei sisällytetä, tarraa ei sisällytetty, GIF-animaatio jätetty pois
    yhteystietokortti jätettiin pois
    obraz pominięty, wideo pominięte, audio pominięte, pominięto naklejkę, plik GIF pominięty, pominięta wizytówka kontaktu
    obrázek vynechán, video vynecháno, zvukový soubor vynechán, nálepka vynechána, GIF vynechán, vizitka vynechána
    obrázok vynechaný, video vynechané, zvuk vynechaný, nálepka vynechaná, GIF vynechaný, karta kontaktu vynechaná
    kép küldése sikertelen, videó kihagyva, hang kihagyása, matrica kihagyva, GIF fájl kihagyása, névjegykártya kihagyva
    imagine omisă, clip video omis, fără audio, GIF omis, carte de vizită contact omisă
    imatge omesa, vídeo omès, àudio omès, adhesiu omès, GIF omès, targeta de contacte omesa
    slika izostavljena, video izostavljen, zvuk izostavljen, naljepnica izostavljena, GIF izostavljen, posjetnica izostavljena
    εικόνα παραλείφθηκε, βίντεο παραλείφθηκε, ήχος παραλείφθηκε, αυτοκόλλητο παραλήφθηκε, παράληψη GIF, η κάρτα επαφής παραλήφθηκε
    изображение отсутствует, видео отсутствует, аудиофайл отсутствует, стикер не добавлен, GIF отсутствует, карточка контакта отсутствует
    зображення відсутнє, відео відсутнє, аудіо відсутнє, наклейку не додано, GIF-анімацію пропущено, картка контакту відсутня
    görüntü dahil edilmedi, video dahil edilmedi, ses dahil edilmedi, çıkartma dahil edilmedi, GIF dahil edilmedi, kişi kartı dahil edilmedi
    gambar tidak disertakan, video tidak disertakan, audio tidak disertakan, stiker tidak disertakan, GIF tidak disertakan
    kartu kontak tidak disertakan
    imej tidak dimasukkan, video tidak dimasukkan, audio tidak dimasukkan, pelekat tidak disertakan, GIF tidak dimasukkan
    kad kenalan tidak dimasukkan
    đã bỏ qua hình ảnh, đã bỏ video, bỏ qua tệp âm thanh, đã bỏ sticker, đã bỏ qua ảnh GIF, bỏ qua thẻ liên lạc
    ไม่มีรูปภาพ, วิดีโอถูกลบ, ไม่มีไฟล์เสียง, ไม่มีสติกเกอร์, ละเว้น GIF, บัตรรายชื่อที่ละเว้น
    התמונה הושמטה, סרטון הווידאו הושמט, קטע קול הושמט, סטיקר הושמט, GIF הושמט, כרטיס איש קשר הושמט
    لم يتم إدراج الصورة, لم يتم إدراج الفيديوهات, لم يتم إدراج المقاطع الصوتية, تم حذف الملصقات, لم يتم إدراج صورة GIF, لم يتم إدراج بطاقة جهة اتصال
    تصویر حذف شد, ویدیو حذف شد, صدا حذف شد, استیکر حذف شد, GIF حذف شد, برگ مخاطب حذف شد
    फ़ोटो हटाई गई, वीडियो छोड़ा गया, ऑडियो हटाई गयी, स्टिकर छोड़ा गया, GIF छोड़ा गया, कॉन्टैक्ट कार्ड छोड़ा गया
    画像は含まれていません, ビデオは含まれていません, 音声は含まれていません, スタンプは含まれていません, GIFは含まれていません, 連絡先カードを省略
    이미지 생략됨, 비디오 생략됨, 오디오 생략됨, 스티커 제외됨, GIF 생략됨, 연락처 카드 생략됨
    照片已忽略, 视频已忽略, 音频已忽略, 贴图已省略, GIF 动态图已被忽略, 联系人卡片已忽略, 图像已忽略
    圖片已略去, 圖像已省略, 影片已略去, 影片已省略, 音訊已略去, 音訊已省略, 貼圖已略去, 貼圖已忽略, GIF 已略去, GIF 圖片已被省略, 聯絡人卡片已略去, 聯絡人卡片已省略
''')

# A live location, a picture to be seen once (`null` on Android), as the whole body.
SHARED = _phrases('''
    null, live location shared, Live-Standort wird geteilt, ubicación en tiempo real compartida, localisation en direct partagée
    posizione attuale condivisa, localização atual compartilhada, live locatie gedeeld, live placering delt, liveposition delad
    posisjon i sanntid delt
    live-sijainti jaettu, udostępniona transmisja położenia, byla sdílena aktuální poloha, геоданные отправлены, геодані надіслано
    mevcut konum paylaşıldı, lokasi terkini dibagikan, ライブロケーション共有, 공유한 실시간 위치, 共享实时位置, 實時位置已分享, تمت مشاركة الموقع المباشر
    view once photo, view once video, view once message, view once voice message
''')

REMOVED = _phrases('''
    this message was deleted, you deleted this message, you deleted this message as admin, message deleted, deleted message
    Diese Nachricht wurde gelöscht, Du hast diese Nachricht gelöscht, Nachricht gelöscht, Du hast diese Nachricht als Admin gelöscht
    se eliminó este mensaje, este mensaje fue eliminado, eliminaste este mensaje, aquest missatge s'ha suprimit, has suprimit aquest missatge
    aquest missatge està esborrat, has esborrat aquest missatge
    ce message a été supprimé, vous avez supprimé ce message, questo messaggio è stato eliminato, hai eliminato questo messaggio
    esta mensagem foi apagada, você apagou esta mensagem, apagou esta mensagem, mensagem apagada, esta mensagem foi apagada pelo remetente
    dit bericht is verwijderd, u hebt dit bericht verwijderd, je hebt dit bericht verwijderd, jy het boodskap uitgevee, hierdie boodskap was uitgevee
    denne besked er blevet slettet, denne besked blev slettet, du har slettet denne besked, du slettede denne besked
    det här meddelandet raderades, detta meddelande raderades, du raderade det här meddelandet, du har tagit bort meddelandet
    du raderade detta meddelande
    denne meldingen ble slettet, du slettet denne meldingen, tämä viesti poistettiin, poistit tämän viestin
    see sõnum on kustutatud, kustutasid selle sõnumi, šī ziņa tika izdzēsta, jūs izdzēsāt šo ziņu, ši žinutė buvo ištrinta, jūs ištrynėte šią žinutę
    ta wiadomość została usunięta, usunięto tę wiadomość, usunąłeś(-ęłaś) tę wiadomość, usunąłeś(aś) tę wiadomość
    tato zpráva byla odstraněna, tato zpráva byla smazána, tuto zprávu jste odstranil/a, tuto zprávu jste smazal/a
    táto správa bola odstránená, túto správu ste odstránili, ez az üzenet törlésre került, törölted ezt az üzenetet, ezt az üzenetet törölted
    acest mesaj a fost șters, ați șters acest mesaj, ova poruka je izbrisana, ova je poruka izbrisana, izbrisali ste ovu poruku
    to sporočilo je bilo izbrisano, to sporočilo ste izbrisali, съобщението беше изтрито, изтрихте това съобщение
    αυτό το μήνυμα διαγράφηκε, διαγράψατε αυτό το μήνυμα, διαγράψατε το μήνυμα
    данное сообщение удалено, сообщение удалено, вы удалили данное сообщение, вы удалили это сообщение
    це повідомлення було видалено, це повідомлення видалено, ви видалили це повідомлення, ова порука је обрисана
    bu mesaj silindi, bu mesajı sildiniz, bu ismarıc silindi, pesan ini dihapus, pesan ini telah dihapus, anda menghapus pesan ini
    anda telah menghapus pesan ini
    mesej ini telah dipadam, mesej ini telah dipadamkan, anda telah memadamkan mesej ini, itong mensahe ay binura na, binura mo itong mensahe
    tin nhắn này đã bị xóa, tin nhắn này đã bị xoá, bạn đã xóa tin nhắn này, bạn đã xoá tin nhắn này, ข้อความนี้ถูกลบแล้ว, ข้อความนี้ได้ถูกลบ
    คุณได้ลบข้อความนี้, คุณลบข้อความนี้
    הודעה זו נמחקה, מחקת הודעה זו, מחקת את ההודעה הזו, تم حذف هذه الرسالة, لقد حذَفت هذه الرسالة, أنت حذفت هذه الرسالة, حذفت هذه الرسالة
    این پیام حذف شد, این پیام حذف شده است, شما این پیام را حذف کردید, یہ پیغام حذف کیا گیا, یہ میسج حذف کر دیا گیا ہے, آپ نے یہ میسج حذف کر دیا ہے
    यह मैसेज डिलीट कर दिया गया है, यह संदेश मिटाया गया, आपने यह मैसेज डिलीट किया, आपने यह संदेश मिटाया, हा मेसेज हटवण्यात आला, तुम्ही हा मेसेज हटवला
    এই মেসেজটি বাদ দেওয়া হয়েছে, এই বার্তাটি মুছে ফেলা হয়েছে, আপনি এই মেসেজটি বাদ দিয়েছেন, આ મેસેજ ડિલીટ કરાયો, તમે આ મેસેજ ડિલીટ કર્યો
    このメッセージは削除されました, このメッセージを削除しました, 이 메시지는 삭제되었습니다, 삭제된 메시지입니다, 삭제한 메시지입니다, 이 메시지를 삭제했습니다
    此訊息已刪除, 您已刪除此訊息, 你已刪除此訊息, 这条消息已被删除, 此消息已删除, 信息已删除, 您已删除这条消息, 你删除了这条消息
''')

CALLS = _phrases('''
    missed voice call, missed video call, missed group voice call, missed group video call, missed call, silenced voice call, silenced video call
    waiting for this message. this may take a while, waiting for this message
    verpasster Sprachanruf, verpasster Videoanruf, llamada perdida, llamada de voz perdida, videollamada perdida, appel vocal manqué
    appel vidéo manqué
    chiamata vocale persa, videochiamata persa, chamada de voz perdida, chamada de vídeo perdida, videochamada perdida, ligação de voz perdida
    ligação de vídeo perdida, gemiste spraakoproep, gemist spraakgesprek, gemiste video-oproep, gemist videogesprek, ubesvaret taleopkald
    ubesvaret videoopkald, missat röstsamtal, missat videosamtal, tapt taleanrop, tapt videoanrop, vastaamaton äänipuhelu, vastaamaton videopuhelu
    nieodebrane połączenie, nieodebrane połączenie głosowe, nieodebrane połączenie wideo, zmeškaný hovor, zmeškaný hlasový hovor, zmeškaný videohovor
    nem fogadott hanghívás, nem fogadott videohívás, apel vocal nepreluat, apel video nepreluat, αναπάντητη φωνητική κλήση, αναπάντητη βιντεοκλήση
    пропущенный аудиозвонок, пропущенный видеозвонок, пропущений аудіодзвінок, пропущений відеодзвінок, cevapsız sesli arama, cevapsız görüntülü arama
    panggilan suara tak terjawab, panggilan video tak terjawab, cuộc gọi nhỡ, cuộc gọi nhỡ video, שיחה קולית שלא נענתה, שיחת וידאו שלא נענתה
    مكالمة صوتية فائتة, مكالمة فيديو فائتة, मिस्ड वॉइस कॉल, मिस्ड वीडियो कॉल, 不在着信, 音声通話不在着信, ビデオ通話不在着信, 부재중 전화, 부재중 영상통화
    未接语音通话, 未接视频通话, 未接語音通話, 未接視像通話, 未接視訊通話
''')

WHOLE = {**dict.fromkeys(MISSING | SHARED, MEDIA), **dict.fromkeys(REMOVED, DELETED), **dict.fromkeys(CALLS, SYSTEM)}
LONGEST_PHRASE = max(map(len, WHOLE)) + 8               # and a stop, brackets, marks

# Behind a file's name on Android: `Plan.pdf (file attached)`.
ATTACHED = _phrases('''
    file attached, Datei angehängt, archivo adjunto, archivo adjuntado, arxiu adjunt, fichier joint, file allegato, arquivo anexado, ficheiro anexado
    bestand bijgevoegd, lêer aangeheg, fil vedhæftet, bifogad fil, fil bifogad, vedlagt fil, liitetiedosto, tiedosto liitetty, fail lisatud
    pievienots fails
    byla prisegta, załączony plik, plik załączony, soubor byl přiložen, súbor pripojený, fájl csatolva, fișier atașat, datoteka u privitku
    priložena datoteka
    skedë e ngjitur, прикачен файл, прикачен фајл, прикачена датотека, συνημμένο αρχείο, файл добавлен, файл прикреплен, файл додано, қосымша файл
    dosya ekli, fayl əlavə olunub, fayl biriktirildi, file terlampir, fail dilampirkan, nakalakip na file, faili limeambatanishwa, tệp đính kèm
    ไฟล์ที่แนบ, קובץ מצורף, الملف مرفق, ملف مرفق, پیوست شد, پیوستہ فائل, फ़ाइल संलग्न है, फाइल अटैच कर दी गई है, फाइल संलग्न, ফাইল সংযুক্ত হয়েছে
    ફાઇલ જોડાયેલ
    ఫైల్ జోడించబడినది, ഫയൽ ചേർത്തു, ಕಡತ ಸೇರಿಸಲಾಯಿತು, ਅਟੈਚ ਕੀਤੀ ਫਾਇਲ, 添付ファイル, 添付ファイル有り, 파일 첨부됨, 文件附件, 附件檔案, 檔案已附加
''')
EDITED = _phrases('''
    this message was edited, Diese Nachricht wurde bearbeitet, se editó este mensaje, mensaje editado, ce message a été modifié
    questo messaggio è stato modificato
    esta mensagem foi editada, mensagem editada, dit bericht is bewerkt, dit bericht is gewijzigd, denne besked blev redigeret
    denne besked er blevet redigeret
    det här meddelandet redigerades, denne meldingen ble redigert, tätä viestiä muokattiin, tätä viestiä on muokattu, ta wiadomość została zmieniona
    wiadomość została edytowana, ta wiadomość została edytowana, tato zpráva byla upravena, táto správa bola upravená, ezt az üzenetet szerkesztették
    acest mesaj a fost editat, αυτό το μήνυμα υποβλήθηκε σε επεξεργασία, сообщение изменено, данное сообщение изменено, это сообщение было изменено
    це повідомлення змінено, це повідомлення було відредаговано, bu mesaj düzenlendi, pesan ini diedit, mesej ini telah diedit
    tin nhắn này đã được chỉnh sửa
    ההודעה נערכה, הודעה זו נערכה, تم تعديل هذه الرسالة, این پیام ویرایش شد, इस मैसेज में बदलाव किया गया, このメッセージは編集されました, 이 메시지는 수정되었습니다
    此消息已编辑, 此消息已修改, 此訊息已編輯, ข้อความนี้ถูกแก้ไข
''')

# ---- and around words: shapes that are the same in every language

_IOS_FILE = re.compile(
    r'[\u200e\u200f]<[^<>:\n]{2,40}: [^<>\n]+>|<[^<>:\n]{2,40}: \d{8}-[^<>\n]+>'
    r'|<(?:attached|Anhang|angehängt|adjunto|adjunt|pièce jointe|allegato|anexo|anexado|bijgevoegd|vedhæftet|bifogat|vedlagt|liite|załączono|příloha|príloha'
    r'|csatolva|atașare|priloženo|επισυνάφθηκε|прикреплено|додано|eklendi|terlampir|dilampirkan|đính kèm|แนบ|מצורף|المُرفق|پیوست|अटैच किया गया|첨부됨'
    r'|添付ファイル|附件): [^<>\n]+>')
_ANDROID_FILE = re.compile(rf'{_M}([^\n]+\.\w{{2,5}}) \(([^()\n]{{2,40}})\)(?:\n|$)')
_CAMERA = re.compile(r'(?:IMG|VID|AUD|PTT|STK|DOC)-\d{8}-WA\d+\.\w+$')
_ANDROID_OMITTED = re.compile(rf'{_M}<([^<>\n]{{3,60}})>(?:\n|$)')
_DOCUMENT = re.compile(r'[^\n]+\.(?:pdf|docx?|xlsx?|pptx?|odt|ods|txt|csv|rtf|zip|rar|7z|apk|vcf|ics|epub|html?|json|xml|mp[34]|m4a|opus|ogg|wav'
                       r'|jpe?g|png|gif|webp|mov|heic|psd|key|pages)(?: • [^\n]+)?', re.I)
_LOCATION = re.compile(r'[^\n]{0,80}?: ?https?://(?:maps\.google\.com/\?q=|(?:www\.)?foursquare\.com/v/)\S+')
_POLL = re.compile(r'[^\W\d][^\n:]{1,20}:\n[^\n]+(?:\n[^\n:]{2,20}: [^\n]*\([^()\n\d]{0,20}\d{1,7}[^()\n\d]{0,20}\))+\s*')
_MENTION = re.compile('@\u2068([^\u2068\u2069\n]*)\u2069')

# Notices that iPhones write under somebody's name: how they start. Those of the first sort have the word WhatsApp in them.
_NOTICE = re.compile('|'.join((
    r'Messages (?:and calls|to this (?:chat|group)|you send to this)[^\n]*(?:encrypt|secure)', 'Nachrichten und Anrufe sind Ende-zu-Ende',
    'Nachrichten, die du in dies', 'Los mensajes y las llamadas (?:est|en est)', 'Los mensajes en este (?:chat|grupo)', 'Els missatges i les trucades',
    'Les messages et les appels', 'Les messages envoyés dans ce', 'I messaggi e le chiamate', 'As mensagens e (?:as )?(?:chamadas|ligações)',
    'Berichten en gesprekken worden', 'Beskeder og opkald er', 'Meddelanden och samtal är', 'Meldinger og samtaler er', 'Viestit ja puhelut salataan',
    'Wiadomości i połączenia są', 'Zprávy a hovory jsou', 'Správy a hovory sú', 'Az üzenetek és hívások', 'Mesajele și apelurile',
    'Poruke i pozivi zaštićeni', 'Τα μηνύματα και οι κλήσεις', 'Сообщения и звонки защищены', 'Повідомлення й дзвінки захищено',
    'Mesajlar ve aramalar uçtan uca', 'Pesan dan panggilan terenkripsi', 'Mesej dan panggilan disulitkan', 'Tin nhắn và cuộc gọi được mã hóa',
    'ข้อความและการโทรได้รับการเข้ารหัส', 'ההודעות והשיחות מוצפנות', 'الرسائل والمكالمات مشفرة', 'پیام[\u200c ]?ها و تماس', 'میسجز اور کالز',
    'मैसेजेस और कॉल्स', 'মেসেজ এবং কল', 'メッセージと通話はエンドツーエンド', '메시지 및 전화는', '消息和通话都进行端到端', '訊息和通話經端對端', '訊息已受端對端')))
_SHORT_NOTICE = re.compile('|'.join((
    'This message was deleted by admin ', 'Diese Nachricht wurde vo[mn] Admin', 'You (?:received|sent) a view once ',
    'Recibiste un mensaje de visualización única', r'Your security code with .* changed\.', r'Deine Sicherheitsnummer für .* hat sich geändert\.',
    'Cambió tu código de seguridad con ', r'Votre code de sécurité avec .* a changé\.', r'Il tuo codice di sicurezza con .* è cambiato\.',
    r'(?:O s|S)eu código de segurança (?:partilhado )?com .* mudou\.', r'(?:Uw|Je) beveiligingscode voor .* is gewijzigd\.',
    r'Ваш код безопасности с контактом .* изменился\.', r'Код безпеки з контактом .* змінився\.', r'Kode keamanan Anda dengan .* telah berubah\.',
    'รหัสความปลอดภัยของคุณกับ ', r'קוד האבטחה עם .* שונה\.', '您[与與和] ?.* ?(?:之間)?的安全(?:代码|代碼|码|碼)已(?:更改|變更)。')))

# What a system line has before a colon, if it has one: `Theo changed the group description. New text: ...`.
_SYSTEM_WORDS = re.compile(
    r'\b(?:changed (?:the|this|their|to)|created (?:this |the )?(?:group|community)|added\b|removed\b|joined (?:using|from|via)|left\b|pinned\b'
    r'|turned (?:on|off)|security code|now an admin|hat (?:den|die|das|sich|dich)|haben? .* (?:hinzugefügt|entfernt)|wurdest?|cambi[óo]|cre[óo] |añadi[óo]'
    r'|agreg[óo]|elimin[óo]|a (?:changé|modifié|créé|ajouté|retiré|supprimé)|ha (?:cambiato|modificato|creato|aggiunto|rimosso)|mudou|alterou|criou'
    r'|adicionou|removeu|heeft (?:het|de|deze|je|u)|ændrede|oprettede|tilføjede|ändrade|skapade|lade till|endret|opprettet|la til|muutti|loi ryhmän|lisäsi'
    r'|zmieni[łl]|utworzy[łl]|doda[łl]|změnil|vytvořil|přidal|a schimbat|a creat|a adăugat|megváltoztatta|létrehozta|изменил|создал|добавил|удалил|змінив'
    r'|створив|додав|değiştirdi|oluşturdu|ekledi|çıkardı|mengubah|membuat grup|menambahkan)')
_QUOTES = re.compile('["“”„«»「」『』]')
# On iPhones without the mark, under and after the name of who did it: `Mara: Mara added Theo`.
_DEED = re.compile(
    r' (?:created (?:this |the )?group|changed (?:the (?:subject|group (?:name|description))|this group)|added |removed |joined using|left$|pinned a message'
    r'|turned o(?:n|ff) |hat (?:die Gruppe|den Betreff|das Gruppen)|creó (?:el|este) grupo|cambió (?:el|la|los) |a créé '
    r'|a (?:changé|modifié) (?:le|la|l[’\']|ce)|ha creato |ha cambiato |criou (?:o|este) grupo|mudou |heeft (?:de groep|deze groep|het onderwerp)'
    r'|создал|изменил|grubu oluşturdu|membuat grup)')
_GROUP = re.compile(
    r'\bgroup(?:s|\'s)?\b(?! (?:voice|video|call))|\bgroupe\b|\bgruppe(?!n-)|\bgrup|\bgrub[au]|\bgruppo\b|\bgroep\b|групп|груп[аиіу]|skupin|ryhmä'
    r'|csoport|ομάδα|קבוצה|مجموعة|گروه|گروپ|समूह|ग्रुप|গ্রুপ|กลุ่ม|\bnhóm\b|グループ|그룹|群[組组]', re.I)

_TITLE = re.compile(
    r'(?:[^\W\d]+ (?:d[eo] )?)?WhatsApp(?:[- ](?:chatt?|Sohbeti|keskustelu|beszélgetés|Unterhaltung))?'
    r' (?:-|–|with|mit|con|avec|com|met|med|dengan|cu|amb|z użytkownikiem|z|s uživatelem|s používateľom|s|с контактом|с|з контактом|з|με|עם|مع) (.+)'
    r'|(.+?) ile WhatsApp (?:Sohbeti|Yazışması)|[与與] ?(.+?) ?的 ?WhatsApp.*', re.I)


def sniff(source):
    if source.suffix not in ('.txt', ''):
        return 0, 'no .txt'
    lines = [line for line in source.start.splitlines()[:400] if line.strip()]
    found = [match for match in map(HEADER.match, lines) if match and _clock(match) is not None]
    said = [match for match in found if _colon(match.string, match.end(), True) > 0]
    if not said:
        return (0.3, 'lines with date and time, but nobody speaks') if found else (0, 'no line starts with date and time')
    if all(match[1] and match[3] == '-' and len(match[2]) == 4 and not match[9] for match in found):
        return 0.4, 'dates as signal-export writes them'
    why = f'{len(found)} of the first {len(lines)} lines start with date and time, {len(said)} of them name somebody'
    if found[0].string != lines[0]:
        return (0.6 if len(said) > 2 else 0.4), why
    return (1 if _title(source) or source.name == '_chat.txt' else 0.9), why


def read(sources, tally):
    for source in sources:
        messages, days, stray = _messages(source)
        if stray:
            tally.drop(UNREADABLE, stray)
        for example in _decide_dates(days):
            tally.note(f'{source.path}: nothing tells day from month in its dates ({example}); the day was taken to come first.')
        names = _Names(messages)
        thread = Thread(title=_title(source))
        for day, clock, text, start in _joined(messages, _pasted(messages, names)):
            name, start = names.split(day, text, start)
            words, reason = _words(text[start:].rstrip('\n'), name, day.style[0]) if name else (text[start:], SYSTEM)
            if day.start is None:                       # left over only before the first message
                tally.drop(UNREADABLE)
            elif reason:
                tally.drop(reason)
                if reason == SYSTEM and _GROUP.search(words, 0, 300):
                    thread.group = True
            else:
                thread.turns.append(Turn(name, words, day.start + clock))
        yield thread


# ---- lines to messages

class _Day:
    """A date as written. style: (iPhone?, separator, where the year is, seconds?, AM and PM?); start: milliseconds since 1970, or None."""
    __slots__ = 'style', 'fields', 'written', 'start'

    def __init__(self, style, fields):
        self.style, self.fields, self.written, self.start = style, tuple(map(int, fields)), style[1].join(fields), None


def _messages(source):
    """-> messages [(day, milliseconds since its midnight, text, where the header in it ends)], days in the order of the file, lines before all."""
    messages, days, stray, header, lines = [], {}, 0, None, []

    def end():
        if header:
            messages.append((header[0], header[1], ''.join(lines).removesuffix('\n'), header[2]))

    with source.text() as file:
        for line in file:
            match = HEADER.match(line)
            clock = _clock(match) if match else None
            if clock is not None:
                end()
                bracket, a, separator, b, c, before, _, _, second, after = match.groups()
                key = bracket, separator, a, b, c, second is None, not (before or after)
                if key not in days:
                    year = 'first' if len(a) == 4 else 'last' if len(c) == 4 else 'short'
                    days[key] = _Day((bracket is not None, separator, year, *key[5:]), (a, b, c))
                header, lines = (days[key], clock, match.end()), [line]
            elif header:
                lines.append(line)
            elif line.strip():
                stray += 1
    end()
    return messages, list(days.values()), stray


def _clock(match):
    """Milliseconds since midnight, or None where HEADER took something else for a time."""
    before, hour, minute, second, after = match.group(6, 7, 8, 9, 10)
    hour, minute, second = int(hour), int(minute), int(second or 0)
    if before or after:
        before, after = _half_of_day(before), _half_of_day(after)
        if before is None or after is None or after == 'link':
            return None
        half = after or before
        if half == 'night':                             # from 6 in the evening to 6 in the morning
            half = 'am' if hour % 12 < 6 else 'pm'
        if half in ('am', 'pm') and hour <= 12:
            hour = hour % 12 + 12 * (half == 'pm')
    if hour > 24 or minute > 59 or second > 60:
        return None
    return (hour % 24 * 3600 + minute * 60 + second) * 1000


@functools.lru_cache(1000)
def _half_of_day(word):
    """One of HALVES' values, '' for no word, None for a word that is none."""
    word = word and ''.join(word.translate(_CLEAN).casefold().replace('.', '').split())
    return HALVES.get(word)


# ---- dates

def _decide_dates(days):
    """Set each day's start. Yields a date of every style in which nothing tells day from month."""
    styles = {}
    for day in days:
        styles.setdefault(day.style, []).append(day)
    for (_, _, year, *_), dates in styles.items():
        orders = ['ymd'] if year == 'first' else ['dmy', 'mdy']
        if year == 'short' and _changes_alone(dates) == 2:
            orders.insert(0, 'ymd')
        cost = {order: _cost([_start(day.fields, order) for day in dates]) for order in orders}
        best = min(orders, key=cost.get)                # of equals the first
        if best == 'dmy' and cost['mdy'] == cost['dmy']:
            yield from [day.written for day in dates if day.fields[0] != day.fields[1]][:1]
        for day in dates:
            day.start = _start(day.fields, best)


def _changes_alone(dates):
    """Which field most often is all that changes from one date to the next: the day. Of equals the first."""
    alone = Counter()
    for before, after in zip(dates, dates[1:]):
        changed = [i for i in range(3) if before.fields[i] != after.fields[i]]
        if len(changed) == 1:
            alone[changed[0]] += 1
    return max(range(3), key=lambda i: alone[i])


def _start(fields, order):
    """Milliseconds from 1970 to the date's midnight, or None for no date."""
    year, month, day = (fields[order.index(part)] for part in 'ymd')
    if year < 100:
        year += 2000 if year < 50 else 2500             # 66 is 2566, Buddhist
    if year > 2400:
        year -= 543
    try:
        return (date(year, month, day).toordinal() - date(1970, 1, 1).toordinal()) * DAY
    except ValueError:
        return None


def _cost(starts):
    """(impossible dates, dates before WhatsApp, steps back)"""
    known = [start for start in starts if start is not None]
    return (len(starts) - len(known), sum(start < _start((FIRST_YEAR, 1, 1), 'ymd') for start in known),
            sum(after < before for before, after in zip(known, known[1:])))


# ---- names

def _colon(text, start, tight):
    """Where the name that starts at `start` ends: at a colon that a blank or the line's end follows (tight: at any colon). -1: there is none."""
    end = text.find('\n', start, start + LONGEST_NAME)
    end = min(len(text), start + LONGEST_NAME) if end < 0 else end
    colon = text.find(':', start, end)
    while colon > start and not tight and text[colon + 1:colon + 2] not in _AFTER_NAME:
        colon = text.find(':', colon + 1, end)
    return colon if colon > start else -1


class _Names:
    """Who speaks, by what stands before colons in all messages."""

    def __init__(self, messages):
        colons, spaced = Counter(), Counter()
        for day, _, text, start in messages:
            colons[day.style] += _colon(text, start, True) > 0
            spaced[day.style] += _colon(text, start, False) > 0
        self.tight = {style for style, n in colons.items() if 2 * spaced[style] < n}
        self.count, self._longer, self._people = Counter(), {}, {}
        for day, _, text, start in messages:
            name = self.raw(day, text, start)
            self.count[name] += 1
            if self._longer.get(name, True):            # not yet seen with different words behind it
                end = _colon(text, start + len(name) + 2, False) if name else -1
                longer = text[start:end] if end > 0 else ''
                self._longer[name] = longer if self._longer.get(name, longer) == longer else ''

    def raw(self, day, text, start):
        """What stands before the first colon that may end a name, '' when there is none."""
        return text[start:max(start, _colon(text, start, day.style in self.tight))]

    def split(self, day, text, start):
        """-> (name, where its words start) or ('', start)."""
        raw = self.raw(day, text, start)
        if raw not in self._people:
            longer = self._longer[raw] if self.count[raw] > 2 else ''
            signs = len(_QUOTES.findall(raw)) % 2 + bool(_SYSTEM_WORDS.search(raw))
            system = signs == 2 or signs and self.count[raw] < 3
            self._people[raw] = ('', 0) if system else ((longer or raw).translate(_CLEAN).strip(), len(longer or raw) + 1)
        name, length = self._people[raw]
        if not name:
            return '', start
        start += length
        return name, start + (text[start:start + 1] in BLANKS)

    def strange(self, run):
        """[whether a name is only in these messages] of all that speak in them."""
        speaking = Counter(self.raw(day, text, start) for day, _, text, start in run if self.split(day, text, start)[0])
        return [self.count[name] == n for name, n in speaking.items()]


def _pasted(messages, names):
    """-> bytes, 1 for each message that is a line of the message before it. See the rule in this file's first lines."""
    pasted, style, last, i = bytearray(len(messages)), None, 0, 0

    def time(message):
        return message[0].start + message[1]

    def odd(message):
        return message[0].start is None or message[0].style != style or time(message) < last - DAY

    while i < len(messages):
        message, end = messages[i], i + 1
        if message[0].start is None:
            pasted[i] = 1
            i += 1
            continue
        if style and odd(message):
            while end < len(messages) and end - i <= LONGEST and odd(messages[end]):
                end += 1
            run = messages[i:end]
            latest = max(time(other) for other in run if other[0].start is not None)
            strange, other_style = any(names.strange(run)), message[0].style != style
            if end == len(messages):
                found = other_style and strange and latest <= last
            else:
                found = strange and latest <= last + DAY or other_style and latest <= last
            found = found and len(run) <= LONGEST
        elif style and time(message) > last + DAY and any(names.strange([message])):
            ahead = range(end, min(i + LONGEST, len(messages)))
            end = next((n for n in ahead if not odd(messages[n]) and time(messages[n]) < time(message) - DAY), i)
            found = end > i and all(names.strange(messages[i:end]))
        else:
            found = False
        if found:
            pasted[i:end] = b'\1' * (end - i)
            i = end
        else:
            style, last = message[0].style, time(message)
            i += 1
    return pasted


def _joined(messages, pasted):
    """Yield the messages with what is pasted into them, and forget each as it goes: they may fill the memory."""
    messages.reverse()
    pasted.reverse()
    while messages:
        day, clock, text, start = messages.pop()
        pasted.pop()
        lines = [text]
        while pasted and pasted[-1] and day.start is not None:
            lines.append(messages.pop()[2])
            pasted.pop()
        yield day, clock, '\n'.join(lines), start


# ---- words

def _words(body, name, ios):
    """-> (what was written, None) or (what stands there, the reason why it is no message)."""
    own = ios and body.startswith('\u200e')
    if body.endswith('>'):
        before, _, last = body[:-1].rpartition('<')
        if len(last) < 80 and (_plain(last) in EDITED or before.endswith('\u200e') and before.strip(MARKS) and not re.search('[>:]', last)):
            body = before.rstrip(MARKS + BLANKS)
    if '\u2068' in body:
        body = _MENTION.sub(r'@\1', body)               # @<isolate>Mara<end of isolate>: WhatsApp's, not the writer's
    words = body.lstrip('\u200e\u200f')
    plain = _plain(words) if len(words) < LONGEST_PHRASE else ''
    if plain in WHOLE:
        return words, WHOLE[plain]
    caption = _caption(body, plain)
    if caption is not None:
        caption = caption.strip(MARKS + BLANKS + '\n')
        no_words = not caption or len(caption) < 300 and _DOCUMENT.fullmatch(caption.translate(_CLEAN))
        return (words, MEDIA) if no_words else (caption, None)
    if ':' in words:
        if _LOCATION.fullmatch(words.strip()):
            return words, MEDIA
        if ':\n' in words and _POLL.fullmatch(words.translate(_CLEAN)):
            return words, POLLS
    if not words.strip(MARKS + BLANKS + '\n'):
        return words, EMPTY
    if own or _SHORT_NOTICE.match(words) or ('WhatsApp' in words or 'واتساب' in words) and _NOTICE.match(words):
        return words, SYSTEM
    if ios and words.startswith(name) and _DEED.match(words, len(name)):
        return words, SYSTEM
    return words, None


def _caption(body, plain):
    """What was written to an attachment, '' for nothing; None when there is no attachment."""
    if '<' in body:
        if found := _IOS_FILE.search(body):
            return body[:found.start()] + body[found.end():]
        if (found := _ANDROID_OMITTED.match(body)) and _plain(found[1]) in OMITTED:
            return body[found.end():]
    if '(' in body and (found := _ANDROID_FILE.match(body)) and (_plain(found[2]) in ATTACHED or _CAMERA.match(found[1])):
        return body[found.end():]
    caption, mark, placeholder = body.rpartition('\u200e')
    if mark and _plain(placeholder) in MISSING:
        return caption
    if plain.endswith(_DOCUMENT_ENDS) and _DOCUMENT.fullmatch(plain.removesuffix(next(end for end in _DOCUMENT_ENDS if plain.endswith(end)))):
        return ''
    return None


def _title(source):
    """'Mara' of `WhatsApp Chat with Mara.txt` or `WhatsApp Chat - Mara.zip/_chat.txt`; '' when the names say nothing."""
    for part in reversed(re.split(r'[/\\]', source.path)[-2:]):
        part = re.sub(r'(?:\.(?:txt|zip))+$| ?\(\d+\)(?=\.|$)', '', part.translate(_CLEAN)).strip()
        if found := _TITLE.fullmatch(part if ' ' in part else part.replace('_', ' ')):
            return next(filter(None, found.groups())).strip()
    return ''
