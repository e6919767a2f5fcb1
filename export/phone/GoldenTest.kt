package pocketlens

import android.graphics.BitmapFactory
import androidx.test.ext.junit.runners.AndroidJUnit4
import androidx.test.platform.app.InstrumentationRegistry
import com.google.mediapipe.framework.image.BitmapImageBuilder
import com.google.mediapipe.tasks.vision.core.RunningMode
import com.google.mediapipe.tasks.vision.imageclassifier.ImageClassifier
import org.json.JSONObject
import org.junit.Assert.assertEquals
import org.junit.Test
import org.junit.runner.RunWith

/** Each model gives on this phone, for each test picture, the scores of golden.json. */
@RunWith(AndroidJUnit4::class)
class GoldenTest {
    @Test
    fun scoresAreTheExpectedOnes() {
        val context = InstrumentationRegistry.getInstrumentation().targetContext
        val golden =
            JSONObject(context.assets.open("golden.json").bufferedReader().use { it.readText() })
        val images = golden.getJSONArray("images")
        val models = golden.getJSONObject("models")
        val card = Card(context)
        for (model in models.keys()) {
            val expected = models.getJSONObject(model)
            val options = classifierOptions(model, RunningMode.IMAGE).build()
            ImageClassifier.createFromOptions(context, options).use { classifier ->
                for (index in 0 until images.length()) {
                    val bitmap = context.assets.open(images.getString(index))
                        .use { BitmapFactory.decodeStream(it) }
                    val row = expected.getJSONArray("scores").getJSONArray(index)
                    val scores = card.scores(classifier.classify(BitmapImageBuilder(bitmap).build()))
                    for (label in scores.indices) {
                        assertEquals(
                            "$model, ${images.getString(index)}, score $label",
                            row.getDouble(label),
                            scores[label].toDouble(),
                            expected.getDouble("tolerance"),
                        )
                    }
                }
            }
        }
    }
}
